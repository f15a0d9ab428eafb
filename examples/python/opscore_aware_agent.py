"""An agent that is aware of Ops-Core, on the AgentKit SDK alone: its own HTTP server takes the tasks that AgentKit
dispatches, and it reports `active`, `idle` and `error` by itself.

    OPSCORE_API_URL=http://127.0.0.1:8000 OPSCORE_API_KEY=… python opscore_aware_agent.py

`hello_agent.py` does the same with the runtime in fewer lines; this is for agents that bring a server of their own.
"""

import asyncio
import json

from agentkit.sdk.client import AgentKitClient, AgentKitError

sdk_client = AgentKitClient()
working: set = set()


async def report(agent_id: str, state: str, details: dict) -> None:
    """A report that fails is told, and ends nothing: Ops-Core gives the task out again."""
    try:
        await sdk_client.report_state_to_opscore(agent_id, state, details)
    except AgentKitError as error:
        print(f"{state} could not be reported: {error}", flush=True)


async def process(agent_id: str, message: dict) -> None:
    """Does a task, and says so before and after. The report names the task, so that it settles no other one."""
    about = {"opscore_task_id": message.get("opscore_task_id")}
    await report(agent_id, "active", about)
    try:
        words = len(message["payload"]["text"].split())
        await asyncio.sleep(0.1)  # as if it were long work
    except Exception as error:
        await report(agent_id, "error", {**about, "error": f"{type(error).__name__}: {error}"})
    else:
        await report(agent_id, "idle", {**about, "result": {"words": words}})


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes one POST: the answer says that the message is taken, the work goes on after it."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
    message = json.loads(await reader.readexactly(length))
    if message.get("messageType") == "workflow_task":
        task = asyncio.create_task(process(agent_id, message))
        working.add(task)
        task.add_done_callback(working.discard)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


agent_id = ""


async def main() -> None:
    global agent_id
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    agent_id = await sdk_client.register_agent(
        agent_name="opscore-aware-agent",
        capabilities=["count_words"],
        version="1.0.0",
        contact_endpoint=f"http://127.0.0.1:{port}/",
        metadata={"description": "Counts words and tells Ops-Core how it is"},
    )
    await report(agent_id, "idle", {})
    print("registered as", agent_id, flush=True)
    try:
        await server.serve_forever()
    finally:
        await sdk_client.close()


asyncio.run(main())
