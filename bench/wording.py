"""Words: stop words, other words for common ones, and whether two texts share a run of words."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["RUN", "base_form", "content_words", "reorder", "reword", "runs", "shares_run", "without_articles", "words"]

RUN: Final = 5
"""Consecutive words that a question must not share with its sources."""

_WORD: Final = re.compile(r"\w+")
_ARTICLE: Final = re.compile(r"(?<![\w-])(?:the|an?)\s+(?=\w)", re.IGNORECASE)

_STOP_WORDS: Final = frozenset(
    "a an the this that these those some any each every all such same other another it its they them their he she i we "
    "you your our my one who whom whose which what where when why how about above after against along among around as "
    "at before behind below between by during for from in inside into like near of off on onto or out over per since "
    "than then there through till to toward under until up upon via with within without and nor so if because while "
    "although whether am is are was were be been being do does did done has have had having can could may might must "
    "shall should will would not no also only just very more most less much many few now here again used use using "
    "following based given see e g etc i s t s".split()
)

# Each a word or phrase and what says the same in its place, whatever stands around it. Technical terms have no other
# name and are left alone.
_OTHER_WORDS: Final = (
    ("in order to", "so as to"),
    ("in addition to", "besides"),
    ("as well as", "and also"),
    ("as soon as", "once"),
    ("based on", "on the basis of"),
    ("according to", "in line with"),
    ("due to", "because of"),
    ("is able to", "can"),
    ("are able to", "can"),
    ("such as", "like"),
    ("a number of", "several"),
    ("at least", "no fewer than"),
    ("related to", "concerning"),
    ("responsible for", "in charge of"),
    ("in case", "if"),
    ("prior to", "before"),
    ("consists of", "is made up of"),
    ("consist of", "are made up of"),
    ("depends on", "relies on"),
    ("depend on", "rely on"),
    ("provides", "offers"),
    ("provide", "offer"),
    ("provided", "offered"),
    ("creates", "makes"),
    ("create", "make"),
    ("created", "made"),
    ("started", "launched"),
    ("sends", "transmits"),
    ("sent", "transmitted"),
    ("receives", "gets"),
    ("received", "obtained"),
    ("retrieve", "fetch"),
    ("retrieves", "fetches"),
    ("retrieved", "fetched"),
    ("contains", "holds"),
    ("contain", "hold"),
    ("containing", "holding"),
    ("multiple", "several"),
    ("ensure", "guarantee"),
    ("ensures", "guarantees"),
    ("ensuring", "guaranteeing"),
    ("required", "needed"),
    ("requires", "needs"),
    ("require", "need"),
    ("requested", "asked for"),
    ("specific", "particular"),
    ("specified", "stated"),
    ("currently", "at present"),
    ("automatically", "by itself"),
    ("necessary", "needed"),
    ("additional", "further"),
    ("entire", "whole"),
    ("completed", "finished"),
    ("modify", "change"),
    ("modified", "changed"),
    ("modifies", "changes"),
    ("updated", "refreshed"),
    ("remove", "delete"),
    ("removed", "deleted"),
    ("removes", "deletes"),
    ("determine", "work out"),
    ("determines", "works out"),
    ("verify", "check"),
    ("verifies", "checks"),
    ("verified", "checked"),
    ("select", "choose"),
    ("selected", "chosen"),
    ("obtain", "get"),
    ("obtained", "got"),
    ("perform", "carry out"),
    ("performs", "carries out"),
    ("performed", "carried out"),
    ("execute", "run"),
    ("executes", "runs"),
    ("executed", "run"),
    ("fails", "does not succeed"),
    ("occurs", "comes about"),
    ("occur", "come about"),
    ("various", "diverse"),
    ("several", "a few"),
    ("via", "by way of"),
    ("within", "inside"),
    ("whether", "if"),
    ("describes", "explains"),
    ("defined", "laid down"),
    ("located", "found"),
    ("stored", "kept"),
    ("displays", "shows"),
    ("displayed", "shown"),
    ("handles", "deals with"),
    ("handle", "deal with"),
    ("maintains", "keeps up"),
    ("manages", "looks after"),
    ("managing", "looking after"),
    ("generates", "produces"),
    ("generated", "produced"),
    ("generate", "produce"),
    ("indicates", "signals"),
    ("initial", "first"),
    ("correct", "right"),
    ("incoming", "arriving"),
    ("together", "jointly"),
    ("during", "in the course of"),
    ("your", "my"),
    ("you", "me"),
)
_REPLACED: Final = dict(_OTHER_WORDS)
# "is using" and "by using" have no such other words.
_NO_PREPOSITION: Final = "".join(
    rf"(?<!\b{word} )" for word in ("is", "are", "be", "of", "for", "by", "when", "before", "after", "start", "not")
)
_REPLACE: Final = re.compile(
    r"(?<![\w./-])(?:"
    + "|".join(sorted(map(re.escape, _REPLACED), key=len, reverse=True))
    + rf"|{_NO_PREPOSITION}using)(?![\w/-]|\.\w)"
)
_USING: Final = "by means of"

_BASE_FORMS: Final = {"caches": "cache", "does": "do", "goes": "go", "has": "have", "is": "be"}


def words(text: str) -> list[str]:
    """Words in lower case; a word is a run of letters, digits and underscores."""
    return _WORD.findall(text.lower())


def runs(text: str, length: int = RUN) -> set[tuple[str, ...]]:
    """Every run of so many consecutive words."""
    found = words(text)
    return {tuple(found[start : start + length]) for start in range(len(found) - length + 1)}


def content_words(text: str) -> set[str]:
    """Words that say what a text is about: neither function words, nor single letters, nor numbers."""
    return {_singular(word) for word in words(text) if len(word) > 1 and word not in _STOP_WORDS and not word.isdigit()}


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def reword(text: str) -> str:
    """The text with other words for those that have some; names and code keep theirs, for they are case-sensitive."""
    return _REPLACE.sub(lambda found: _REPLACED.get(found.group(), _USING), text)


def without_articles(text: str, plain: str) -> str:
    """The text without those of its articles that make it share runs of words with another, as hurried questions go.

    Args:
        text: A question or part of one.
        plain: The other text's words in lower case, parted by blanks.
    """
    shared = _shared_runs(text, plain)
    start = 0
    while shared and (article := _ARTICLE.search(text, start)):
        shorter = text[: article.start()] + text[article.end() :]
        left = _shared_runs(shorter, plain)
        if left < shared:
            text, shared, start = shorter, left, 0
        else:
            start = article.end()
    return text


_LINK_AHEAD: Final = r"(?=$|,| (?:in|on|to|for|from|of|by|is|are|at|when|with)\b)"
_OF: Final = re.compile(r"\b(?:the|an?) ([a-z]{4,}(?<!ing)) of (?:(?:the|an?) )?((?:[\w-]+ )?[\w-]+)" + _LINK_AHEAD)
_PAIR: Final = re.compile(r"\b(of |for |with |both |in )([\w-]+) (and|or) ([\w-]+)" + _LINK_AHEAD)


def reorder(text: str) -> str:
    """The text with "name of a node" as "node name", and two words around "and" or "or" the other way about."""
    return _PAIR.sub(r"\1\4 \3 \2", _OF.sub(r"the \2 \1", text))


def base_form(verb: str) -> str:
    """A verb in the third person singular without its ending: handles to handle, carries to carry."""
    if verb in _BASE_FORMS:
        return _BASE_FORMS[verb]
    if verb.endswith("ies"):
        return verb[:-3] + "y"
    if verb.endswith(("sses", "shes", "ches", "xes", "zes")):
        return verb[:-2]
    return verb.removesuffix("s")


def _shared_runs(question: str, plain: str) -> int:
    padded = f" {plain} "
    return sum(f" {' '.join(run)} " in padded for run in runs(question))


def shares_run(question: str, plain: str) -> bool:
    """Whether a question has a run of five words that a text has as well.

    Args:
        question: As it is asked.
        plain: The text's words in lower case, parted by blanks.
    """
    return _shared_runs(question, plain) > 0
