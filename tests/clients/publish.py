"""Publishes with the CloudEvents SDK in each mode and reads each event back: publish.py ADDRESS."""

import json
import sys
import urllib.request
from datetime import datetime, timezone

from cloudevents.core.bindings.http import HTTPMessage, from_structured, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

BASE = f"http://{sys.argv[1]}"
FORMAT = JSONFormat()


def event(number):
    return CloudEvent(
        attributes={
            "id": f'py {number} "quoted" 100%',
            "source": "/python?q=%C3%A9&x='y'",
            "type": "com.example.python",
            "subject": "Zürich – 東京 🦀 %41",
            "time": datetime(2026, 11, 21, 8, 0, 0, 123000, tzinfo=timezone.utc),
            "datacontenttype": "application/json",
            "partitionkey": "a b,c;d",
        },
        data={"number": number, "text": "é\n\"", "list": [1, None, 2.5]},
    )


def post(message):
    request = urllib.request.Request(f"{BASE}/v1/events", data=message.body, headers=message.headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 202, answer.status
        return json.load(answer)


def check(position, expected):
    with urllib.request.urlopen(f"{BASE}/v1/buses/default/events/{position}", timeout=60) as answer:
        stored = json.load(answer)["event"]
    body = json.dumps(stored).encode()
    found = from_structured(HTTPMessage({"content-type": "application/cloudevents+json"}, body), FORMAT)
    assert found.get_attributes() == expected.get_attributes(), (found.get_attributes(), expected.get_attributes())
    assert found.get_data() == expected.get_data(), (found.get_data(), expected.get_data())


binary, structured, batch = event(1), event(2), [event(3), event(4)]
check(post(to_binary(binary, FORMAT))["position"], binary)
check(post(to_structured(structured, FORMAT))["position"], structured)
body = b"[" + b",".join(to_structured(one, FORMAT).body for one in batch) + b"]"
results = post(HTTPMessage({"content-type": "application/cloudevents-batch+json"}, body))["results"]
assert len(results) == 2, results
for result, one in zip(results, batch):
    check(result["position"], one)
# The same event in another mode is the same event.
assert post(to_structured(binary, FORMAT))["duplicate"] is True
print("4 events")
