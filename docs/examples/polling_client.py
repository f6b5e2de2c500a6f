"""A client of LiteLLM's polling as first documented: create, poll until the end, print the text.

python polling_client.py http://127.0.0.1:8000/v1 "Tell me a story"
"""

import sys
import time

import requests


def text_of(response: dict) -> str:
    return "".join(
        part["text"]
        for item in response.get("output", [])
        if item["type"] == "message"
        for part in item.get("content", [])
        if part["type"] == "text"
    )


def main(base_url: str, question: str) -> None:
    headers = {"Authorization": "Bearer sk-1234"}
    body = {"model": "story", "input": question, "background": True}
    response = requests.post(f"{base_url}/responses", headers=headers, json=body, timeout=60).json()
    print(response["id"], response["status"])
    url = f"{base_url}/responses/{response['id']}"
    while response["status"] not in ("completed", "failed"):
        time.sleep(0.2)
        response = requests.get(url, headers=headers, timeout=60).json()
    if response["status"] == "failed":
        sys.exit(f"failed: {response['status_details']['error']['message']}")
    print(text_of(response))
    print(response["usage"]["total_tokens"], "tokens")


if __name__ == "__main__":
    main(*sys.argv[1:3])
