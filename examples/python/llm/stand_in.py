"""A stand-in for a language model that needs no key: it answers with the first words of what it was sent.

Its first answer is 429, as a busy model's may be, so that the workflow has something to try again.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

calls = 0


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        global calls
        calls += 1
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if calls == 1:
            return self.answer(429, {"error": {"message": "too many requests"}})
        system, user = (message["content"] for message in asked["messages"])
        limit = int(re.search(r"\d+", system).group())
        words = user.split()
        self.answer(200, {
            "id": f"chatcmpl-{calls}", "object": "chat.completion", "model": asked["model"],
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": " ".join(words[:limit])}}],
            "usage": {"prompt_tokens": len(words), "completion_tokens": limit, "total_tokens": len(words) + limit}})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


host, port = sys.argv[1].split(":")
server = ThreadingHTTPServer((host, int(port)), Model)
print(f"answering at http://{host}:{port}/v1", flush=True)
server.serve_forever()
