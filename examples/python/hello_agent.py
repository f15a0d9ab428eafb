"""Hello, agent: two tasks, reached over HTTP, or over a WebSocket where nobody can reach it from outside.

    python hello_agent.py
    python hello_agent.py websocket

Then, in another shell:

    signalbox workflows apply examples/python/hello.yaml
    signalbox workflows trigger hello --input '{"name": "Ada"}' --wait
"""

import sys
import time

from agentkit import Agent, Context, Failure

agent = Agent("hello", connect=sys.argv[1] if len(sys.argv) > 1 else "http", concurrency=4)


@agent.task("greet")
def greet(name: str) -> dict:
    if not name:
        raise Failure("nobody to greet", code="no_name")
    return {"text": f"Hello, {name}!"}


@agent.task("shout")
def shout(text: str, ctx: Context) -> dict:
    for percent in (0, 50, 100):
        ctx.progress(percent, "warming up the voice")
        ctx.check()  # ends here where the task was cancelled
        time.sleep(0.1)
    return {"text": text.upper()}


agent.run()
