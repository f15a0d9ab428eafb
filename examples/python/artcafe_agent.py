"""The agent of ArtCafe's guide, on the SDK: signs in with its SSH key, sends heartbeats, connects again, answers commands.

    python artcafe_agent.py agent-123 tenant-456 /path/to/private_key http://127.0.0.1:8000
"""

import logging
import sys

from agentkit import Agent, Context, Failure

agent_id, tenant_id, private_key_path, api_endpoint = sys.argv[1:5]
logging.basicConfig(level=logging.INFO)
agent = Agent("ArtCafeAgent", connect="websocket", url=api_endpoint, agent_id=agent_id, tenant=tenant_id,
              ssh_key=private_key_path)


@agent.command("ping")
def ping(args: dict, ctx: Context) -> dict:
    ctx.log("somebody pings")
    return {"pong": args}


@agent.command("*")
def refuse(ctx: Context) -> None:
    raise Failure(f"the command '{ctx.call.name}' is not known", code="unknown_command")


@agent.task("*")
def execute_task(parameters: dict, ctx: Context) -> dict:
    ctx.progress(45)
    return {"task": ctx.call.name, "parameters": parameters}


agent.run()
