"""Guesses the number of the agent `keeper`, one message at a time, and ends when it has it."""

import asyncio

from agentkit import Agent, AsyncClient, Call

agent = Agent("guesser")
bounds = [1, 100]


async def guess(keeper: str) -> None:
    await agent.send(keeper, "guess", {"number": sum(bounds) // 2})


@agent.message("answer")
async def answer(number: int, said: str, call: Call) -> None:
    print(f"{number} is {said}", flush=True)
    if said == "right":
        agent.stop()
        return
    if said == "too low":
        bounds[0] = number + 1
    else:
        bounds[1] = number - 1
    await guess(call.sender)


async def main() -> None:
    async with AsyncClient() as client:
        [keeper] = await client.agents.list(name="keeper")
    await agent.serve(started=lambda: asyncio.ensure_future(guess(keeper.agent_id)))


asyncio.run(main())
