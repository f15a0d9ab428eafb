"""Keeps a number, and says of each guess whether it is too low, too high, or right."""

from agentkit import Agent, Call

NUMBER = 42

agent = Agent("keeper")


@agent.message("guess")
async def guess(number: int, call: Call) -> None:
    said = "right" if number == NUMBER else "too low" if number < NUMBER else "too high"
    await agent.send(call.sender, "answer", {"number": number, "said": said})


agent.run()
