"Properties of the chat format: nothing is lost in a round trip, and masks cover exactly what the assistant said."

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentft.core.agent import LEAN, tool_schemas
from agentft.core.records import Message, ToolCall
from agentft.model.chat import ChatFormat, call_text, parse_said, said_text, to_openai
from agentft.model.loading import load_tokenizer

relaxed = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
TOOLS = tool_schemas(['read_file', 'edit_file', 'next_phase_todos'], tools=LEAN)


@pytest.fixture(scope='module')
def fmt():
    return ChatFormat(load_tokenizer())


text = st.text(st.characters(codec='utf-8'), max_size=40)
value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3),
    max_leaves=6,
)
call = st.builds(ToolCall, text, st.dictionaries(text, value, max_size=4))
plain = text.filter(lambda s: not parse_said(s).tool_calls)
said = st.builds(lambda c, t: Message('assistant', c, t), plain, st.lists(call, max_size=3))


def conversation(assistant):
    other = st.builds(Message, st.sampled_from(['user', 'tool']), text)
    return st.builds(
        lambda head, rest: head + rest,
        st.sampled_from([[], [Message('system', 'Work in phases.')]]),
        st.lists(other | assistant, min_size=1, max_size=7),
    )


@relaxed
@given(said)
def test_what_is_said_can_be_read_back(m):
    assume(not parse_said(m.content).tool_calls)
    assert parse_said(said_text(m)) == m


@relaxed
@given(st.text(st.sampled_from('{}[]":,\\\n name"arguments'), max_size=60) | text)
def test_any_text_is_read_without_error_and_reads_the_same_again(s):
    m = parse_said(s)
    assert parse_said(said_text(m)) == m


@relaxed
@given(call, st.integers(0, 200))
def test_a_truncated_call_is_malformed_and_keeps_its_text(c, n):
    whole = call_text(c)
    cut = whole[: min(9 + n, len(whole) - 1)]
    m = parse_said(cut)
    assert [x.malformed for x in m.tool_calls] == [cut] and not m.content
    assert said_text(m) == cut


@relaxed
@given(conversation(said), st.sampled_from([None, TOOLS]), st.data())
def test_masks_cover_exactly_what_was_said_and_the_stop_token(fmt, messages, tools, data):
    weights = [float(m.role == 'assistant' and data.draw(st.booleans())) for m in messages]
    ids, labels = fmt.encode(messages, tools, weights)
    assert len(ids) == len(labels) and all(y in (-100, i) for i, y in zip(ids, labels))
    want = [t for m, w in zip(messages, weights) if w for t in fmt.ids(said_text(m)) + [fmt.stop_id]]
    assert [y for y in labels if y >= 0] == want
    closed = sum(m.role == 'assistant' for m in messages)
    turns = ids.count(fmt.tokenizer.convert_tokens_to_ids('<|im_start|>'))
    assert closed <= ids.count(fmt.stop_id) <= turns  # data never forges a turn


@relaxed
@given(conversation(said), st.sampled_from([None, TOOLS]))
def test_encoding_is_prefix_stable_and_extends_as_generated(fmt, messages, tools):
    whole = fmt.encode(messages, tools)[0]
    for k in range(1, len(messages) + 1):
        part = fmt.encode(messages[:k], tools)[0]
        assert whole[: len(part)] == part
        if messages[k - 1].role == 'assistant':
            assert fmt.prompt(messages[: k - 1], tools) + fmt.ids(said_text(messages[k - 1])) + [
                fmt.stop_id
            ] == part or (k == 1 and tools)
            assert fmt.prompt(messages, tools) == part + fmt.extend(messages[k:])


@relaxed
@given(conversation(said), st.sampled_from([None, TOOLS]), st.booleans())
def test_the_jinja_template_renders_the_same_text(fmt, messages, tools, generate):
    got = fmt.tokenizer.apply_chat_template(
        to_openai(messages), tools=tools, chat_template=fmt.template, tokenize=False, add_generation_prompt=generate
    )
    assert got == fmt.render(messages, tools, generate)


def test_broken_calls_of_a_recorded_job_are_rendered_with_their_arguments():
    c = ToolCall('read_file', malformed='{"path": "a')
    assert call_text(c) == '{"name":"read_file","arguments":{"path": "a}'
    back = parse_said(call_text(c)).tool_calls[0]
    assert back.name == 'read_file' and back.malformed == call_text(c)
