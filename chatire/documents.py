"""The AsyncAPI document of the sockets: as JSON, as YAML, and as a page for people."""

import json
from typing import Any

import yaml
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from chat.socket.parameters import Parameters
from protocol.asyncapi import asyncapi


def asyncapi_document() -> dict[str, Any]:
    """Return the document for this version of the API."""
    return asyncapi(version=str(settings.SPECTACULAR_SETTINGS["VERSION"]), parameters=Parameters)


def as_json() -> str:
    """Return the document as JSON, for people to compare too."""
    return json.dumps(asyncapi_document(), indent=2, ensure_ascii=False) + "\n"


def as_yaml() -> str:
    """Return the document as YAML."""
    text: str = yaml.safe_dump(asyncapi_document(), sort_keys=False, allow_unicode=True)
    return text


@require_safe
def asyncapi_json(request: HttpRequest) -> JsonResponse:
    """Answer with the document as JSON."""
    return JsonResponse(asyncapi_document())


@require_safe
def asyncapi_yaml(request: HttpRequest) -> HttpResponse:
    """Answer with the document as YAML."""
    return HttpResponse(as_yaml(), content_type="application/yaml; charset=utf-8")


@require_safe
def websocket_page(request: HttpRequest) -> HttpResponse:
    """Show the document to people: what a client sends, is answered and is told."""
    document = asyncapi_document()
    schemas = document["components"]["schemas"]
    messages = document["components"]["messages"]
    operations = document["operations"]

    def shown(reference: dict[str, str]) -> dict[str, Any]:
        name = reference["$ref"].rsplit("/", 1)[-1]
        message = messages[name]
        return {
            **message,
            "summary": _marked(message["summary"]),
            "fields": _fields(schemas[name]),
        }

    commands = [
        {
            **shown(operation["messages"][0]),
            "answers": [shown(answer)["name"] for answer in operation["reply"]["messages"]],
            "rest": shown(operation["messages"][0]).get("x-rest"),
        }
        for operation in operations.values()
        if "reply" in operation
    ]
    answers = {
        message["$ref"]: shown(message)
        for operation in operations.values()
        for message in operation.get("reply", {}).get("messages", ())
    }
    events = [
        {**found, "numbered_by": found["x-numbered-by"], "when_slow": found["x-when-slow"]}
        for found in map(shown, operations["tell"]["messages"])
    ]
    context = {
        "title": document["info"]["title"],
        "description": _marked(document["info"]["description"]),
        "close_codes": [
            {"code": code["code"], "why": _marked(code["why"]), "then": _marked(code["then"])}
            for code in document["info"]["x-close-codes"]
        ],
        "channels": list(document["channels"].values()),
        "parameters": _fields(document["channels"]["everything"]["bindings"]["ws"]["query"]),
        "groups": [
            ("Commands", "command", commands),
            ("Answers", "answer", list(answers.values())),
            ("Events", "event", events),
        ],
        "states": [
            {
                "name": name,
                "summary": _marked(schema.get("description", "")),
                "fields": _fields(schema),
            }
            for name, schema in schemas.items()
            if name not in messages
        ],
    }
    return render(request, "chatire/websocket.html", context)


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "type": _type(field),
            "links": _links(field),
            "required": name in required,
            "description": _marked(field.get("description", "")),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _marked(text: str) -> SafeString:
    """Return text with what stands between backticks as code."""
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", part) if index % 2 else part,)
            for index, part in enumerate(text.split("`"))
        ),
    )


def _type(field: dict[str, Any]) -> str:
    """Return a field's type in a few words."""
    if "$ref" in field:
        return str(field["$ref"]).rsplit("/", 1)[-1]
    if "const" in field:
        return json.dumps(field["const"])
    if "enum" in field:
        return " | ".join(json.dumps(value) for value in field["enum"])
    if "anyOf" in field:
        return " | ".join(_type(one) for one in field["anyOf"])
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"{_type(field.get('items', {}))}[]"
    bounds = [
        f"{word} {field[key]:,}"
        for key, word in (("minLength", "from"), ("maxLength", "to"), ("minimum", "from"))
        if key in field and not (key == "minLength" and field[key] == 1)
    ]
    return " ".join([str(field.get("format", kind)), *bounds])


def _links(field: dict[str, Any]) -> list[str]:
    found = [str(field["$ref"]).rsplit("/", 1)[-1]] if "$ref" in field else []
    for part in (*field.get("anyOf", ()), field.get("items")):
        if isinstance(part, dict):
            found += _links(part)
    return found
