"""An agent as the guide for agents of the ArtCafe surface describes it, with nothing but what that guide tells.

It stands on foreign libraries: `websockets` for the connection, `paramiko` for the signature, and Python's own HTTP.
Usage: seed_agent.py API_ENDPOINT TENANT_ID AGENT_ID PRIVATE_KEY_PATH ALGORITHM
ALGORITHM is what paramiko signs with: `default` (as the guide writes it), `rsa-sha2-256`, `rsa-sha2-512` or `ed25519`.
Each thing that happens is one line of JSON on standard output.
"""

import asyncio
import base64
import json
import sys
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone

import paramiko
import websockets

HEARTBEAT_INTERVAL_S = 1


def tell(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def timestamp():
    # The guide's own form: no offset.
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat()


class Agent:
    def __init__(self, api_endpoint, tenant_id, agent_id, private_key_path, algorithm):
        self.api_endpoint = api_endpoint
        self.tenant_id = tenant_id
        self.agent_id = agent_id
        self.private_key_path = private_key_path
        self.algorithm = algorithm
        self.token = None
        self.socket = None

    def post(self, path, body):
        request = urllib.request.Request(
            self.api_endpoint + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def sign(self, challenge):
        if self.algorithm == "ed25519":
            key = paramiko.Ed25519Key.from_private_key_file(self.private_key_path)
            return key.sign_ssh_data(challenge.encode())
        key = paramiko.RSAKey.from_private_key_file(self.private_key_path)
        if self.algorithm == "default":
            return key.sign_ssh_data(challenge.encode())
        return key.sign_ssh_data(challenge.encode(), self.algorithm)

    def authenticate(self):
        status, challenge = self.post("/api/v1/auth/challenge", {"agent_id": self.agent_id})
        if status != 200:
            return tell("refused", status=status, answer=challenge)
        signature = self.sign(challenge["challenge"])
        signature = signature.asbytes() if hasattr(signature, "asbytes") else bytes(signature)
        status, verified = self.post(
            "/api/v1/auth/verify",
            {
                "tenant_id": self.tenant_id,
                "agent_id": self.agent_id,
                "challenge": challenge["challenge"],
                "response": base64.b64encode(signature).decode(),
            },
        )
        if not verified.get("valid"):
            return tell("refused", status=status, answer=verified)
        self.token = verified["token"]
        tell("authenticated")

    async def send(self, kind, data):
        envelope = {"type": kind, "id": f"{kind}-{uuid.uuid4()}", "data": data, "timestamp": timestamp()}
        await self.socket.send(json.dumps(envelope))

    async def send_heartbeats(self):
        while True:
            await self.send(
                "heartbeat",
                {"agent_id": self.agent_id, "status": "online", "cpu_usage": 12.5, "memory_usage": 256.3},
            )
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def work(self, message):
        command, args = message["data"]["command"], message["data"].get("args", {})
        tell("command", command=command, args=args)
        data = {"command_id": message["id"], "status": "success", "result": {"echo": args}}
        if command == "execute_task":
            await self.send("status", {"status": "busy", "current_task": args["task_id"], "progress": 45})
            data["result"] = {"done": args["parameters"]}
        elif command == "fail":
            data = {"command_id": message["id"], "status": "error", "error": "it was told to"}
        await self.send("response", data)

    async def run(self):
        self.authenticate()
        if self.token is None:
            return
        url = self.api_endpoint.replace("http", "ws", 1) + f"/api/v1/ws/agent/{self.agent_id}"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with websockets.connect(url, additional_headers=headers) as self.socket:
            tell("connected", extensions=[extension.name for extension in self.socket.protocol.extensions])
            heartbeats = asyncio.create_task(self.send_heartbeats())
            try:
                async for text in self.socket:
                    message = json.loads(text)
                    if message["type"] == "command":
                        await self.work(message)
                    else:
                        tell("received", type=message["type"], data=message.get("data"))
            finally:
                heartbeats.cancel()
        tell("closed", code=self.socket.close_code, reason=self.socket.close_reason)


if __name__ == "__main__":
    asyncio.run(Agent(*sys.argv[1:6]).run())
