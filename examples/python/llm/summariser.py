"""Asks a language model, by any endpoint that speaks OpenAI's chat completions.

`OPENAI_BASE_URL` is the endpoint (the stand-in of this folder where it is not set), `OPENAI_API_KEY` its key where it needs
one, `OPENAI_MODEL` the model.
"""

import json
import os
import urllib.error
import urllib.request

from agentkit import Agent, Failure

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:9300/v1")
MODEL = os.environ.get("OPENAI_MODEL", "stand-in")

agent = Agent("summariser", concurrency=4)


@agent.task("summarise")
def summarise(text: str, words: int = 20) -> dict:
    body = {
        "model": MODEL,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": f"Summarise what the user sends in at most {words} words."},
            {"role": "user", "content": text},
        ],
    }
    request = urllib.request.Request(f"{URL}/chat/completions", json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    if os.environ.get("OPENAI_API_KEY"):
        request.add_header("authorization", "Bearer " + os.environ["OPENAI_API_KEY"])
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered = json.load(answer)
    except urllib.error.HTTPError as error:
        # The code is what the workflow's `retryOn` names.
        code = "rate_limited" if error.code == 429 else "model_failed" if error.code >= 500 else "model_refused"
        raise Failure(f"the model answered {error.code}: {error.read(500)!r}", code=code) from error
    except OSError as error:
        raise Failure(f"the model was not reached: {error}", code="model_failed") from error
    return {"summary": answered["choices"][0]["message"]["content"], "tokens": answered["usage"]["total_tokens"]}


agent.run()
