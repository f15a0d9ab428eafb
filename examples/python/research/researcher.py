"""Plans, looks things up, and publishes: what each process of it is given. Start two, under different names.

    python3 researcher.py ada & python3 researcher.py grace &
"""

import json
import pathlib
import sys

from agentkit import Agent, Context, Failure

FACTS = json.loads((pathlib.Path(__file__).parent / "facts.json").read_text())

agent = Agent(sys.argv[1], concurrency=2)


@agent.task("plan")
def plan(question: str) -> dict:
    terms = [term for term in FACTS if term in question.lower()]
    if not terms:
        raise Failure(f"nothing is known of what '{question}' is about", code="no_terms")
    return {"terms": terms}


@agent.task("look")
def look(term: str, ctx: Context) -> dict:
    ctx.log("looking it up", term=term)
    return {"term": term, "found": FACTS[term], "by": agent.name}


@agent.task("publish")
def publish(question: str, found: list) -> dict:
    return {"text": "\n".join([question, *(f"- {each['term']}: {each['found']}" for each in found)])}


agent.run()
