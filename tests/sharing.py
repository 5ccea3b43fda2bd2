"""What clients of boto3 have in common in a test process, worked out once instead of for each session and client.

A session reads megabytes of JSON, and a client makes a class, a tree of rules for endpoints and a copy of the session's
handlers of events: all of it the same each time, for hundreds of tests with sessions and clients of their own.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from botocore import client, endpoint_provider, hooks, parsers, useragent, utils
from botocore.loaders import Loader


def share() -> None:
    """Let all clients that are made from now on share what they have in common."""
    _share_what_is_read()
    _share_names_of_events()
    _copy_handlers_where_they_change()
    _share_rules_of_endpoints()
    _share_models()
    _share_methods()
    _share_times()
    module: Any = useragent
    module.sanitize_user_agent_string_component = functools.cache(useragent.sanitize_user_agent_string_component)


def _share_what_is_read() -> None:
    known: dict[Any, Any] = {}
    loaders: Any = Loader
    make = Loader.__init__

    def make_sharing(loader: Any, *arguments: Any, **options: Any) -> None:
        make(loader, *arguments, **options)
        loader._cache = known  # noqa: SLF001 - botocore's

    loaders.__init__ = make_sharing


def _share_names_of_events() -> None:
    names: dict[str, str] = {}
    make, accepts = hooks.EventAliaser.__init__, hooks.accepts_kwargs

    def make_sharing(aliaser: Any, *arguments: Any, **options: Any) -> None:
        make(aliaser, *arguments, **options)
        aliaser._alias_name_cache = names  # noqa: SLF001 - botocore's

    def accepts_by_its_code(handler: Any) -> bool:
        code = getattr(handler, "__code__", None)
        return bool(accepts(handler) if code is None else code.co_flags & inspect.CO_VARKEYWORDS)

    module: Any = hooks
    module.EventAliaser.__init__ = make_sharing
    module.accepts_kwargs = accepts_by_its_code


def _copy_handlers_where_they_change() -> None:
    """A client has its session's handlers and a few of its own: only the paths to these are copied."""
    module: Any = hooks
    tries, of_handlers = module._PrefixTrie, module.NodeList  # noqa: SLF001 - botocore's
    middle: int = module._MIDDLE  # noqa: SLF001
    remove = tries.remove_item

    def copy(trie: Any) -> Any:
        copied = object.__new__(type(trie))
        copied._root = trie._root  # noqa: SLF001
        # From now on none of these nodes is one's own.
        trie.own, copied.own = {}, {}
        return copied

    def owned(trie: Any, node: dict[str, Any]) -> dict[str, Any]:
        if getattr(trie, "own", None) is None:
            return node
        if id(node) not in trie.own:
            values = node["values"]
            node = {
                "chunk": node["chunk"],
                "children": dict(node["children"]),
                "values": None if values is None else of_handlers(*map(list, values)),
            }
            trie.own[id(node)] = node
        return node

    def path(trie: Any, key: str) -> dict[str, Any]:
        """Return the node of a key, which is made where there is none, with all that are above it the trie's own."""
        node = trie._root = owned(trie, trie._root)  # noqa: SLF001
        for part in key.split("."):
            below = node["children"].get(part) or {"chunk": part, "values": None, "children": {}}
            node["children"][part] = node = owned(trie, below)
        return node

    def append_item(trie: Any, key: str, value: Any, section: int = middle) -> None:
        node = path(trie, key)
        if node["values"] is None:
            node["values"] = of_handlers([], [], [])
        node["values"][section].append(value)

    def remove_item(trie: Any, key: str, value: Any) -> None:
        node = trie._root  # noqa: SLF001
        for part in key.split("."):
            node = node["children"].get(part) if node is not None else None
        if node is not None:
            path(trie, key)
        remove(trie, key, value)

    tries.__copy__, tries.append_item, tries.remove_item = copy, append_item, remove_item


def _share_rules_of_endpoints() -> None:
    module: Any = endpoint_provider
    make, made = endpoint_provider.RuleSet, dict[tuple[int, int], tuple[Any, Any]]()

    def shared(**given: Any) -> Any:
        # What is read is shared, too, and kept beside what is made of it: its identity stays its own.
        key = id(given["rules"]), id(given["partitions"])
        if key not in made:
            made[key] = make(**given), given
        return made[key][0]

    module.RuleSet = shared


def _share_models() -> None:
    module: Any = client
    make, made = client.ServiceModel, dict[tuple[int, str], tuple[Any, Any]]()

    def shared(described: Any, service_name: str) -> Any:
        key = id(described), service_name
        if key not in made:
            made[key] = make(described, service_name), described
        return made[key][0]

    module.ServiceModel = shared


def _share_methods() -> None:
    creator: Any = client.ClientCreator
    make, made = creator._create_methods, dict[tuple[str, str], dict[str, Any]]()  # noqa: SLF001 - botocore's

    def shared(creating: Any, service: Any) -> dict[str, Any]:
        key = service.service_name, service.api_version
        if key not in made:
            made[key] = make(creating, service)
        return dict(made[key])

    creator._create_methods = shared  # noqa: SLF001 - botocore's


def _share_times() -> None:
    """Guessing the format of a time takes longer than all else of a line in a listing."""
    parse = functools.lru_cache(maxsize=10_000, typed=True)(utils.parse_timestamp)
    for module in (utils, parsers):
        changed: Any = module
        changed.parse_timestamp = parse
    changed.DEFAULT_TIMESTAMP_PARSER = parse
