"""A tool user: it works out a bill with a tool, which the server calls for it and whose arguments the server checks.

The tool lives in the same program here; it may be anywhere, in any language, and any agent of the tenant may call it.
"""

import asyncio

from agentkit import Agent, AsyncClient, Failure

agent = Agent("clerk")


@agent.tool
def convert(amount: float, to: str) -> dict:
    """Converts an amount of euros."""
    rates = {"usd": 1.25, "chf": 0.95}
    if to not in rates:
        raise Failure(f"there is no rate for {to}; there are {sorted(rates)}")
    return {"amount": round(amount * rates[to], 2)}


@agent.task("bill")
async def bill(amounts: list, currency: str) -> dict:
    async with AsyncClient() as client:
        calls = [client.agents.call_tool(agent.agent_id, "convert", {"amount": each, "to": currency}) for each in amounts]
        answers = await asyncio.gather(*calls)
    failed = [answer for answer in answers if answer.status == "error"]
    if failed:
        raise Failure(failed[0].error_message, code="tool_failed")
    return {"total": round(sum(answer.data["amount"] for answer in answers), 2), "currency": currency}


agent.run()
