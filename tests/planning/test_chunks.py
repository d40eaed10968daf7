import pytest
from hypothesis import given
from hypothesis import strategies as st

from upframe.planning.chunks import (
    Begin,
    Chunk,
    Chunker,
    End,
    Step,
    chunks_of,
    events_of,
)

videos = st.integers(0, 90).flatmap(
    lambda n: st.tuples(
        st.just(n), st.frozensets(st.integers(0, max(0, n - 1)), max_size=8)
    )
)
lengths = st.integers(1, 30)
contexts = st.integers(0, 12)


def drive(n_frames, cuts, max_length, context):
    """Run the chunker; yields (newest frame, event)."""
    chunker = Chunker(max_length, context)
    for frame in range(n_frames):
        for event in chunker.push(frame, cut=frame in cuts):
            yield frame, event
    for event in chunker.finish():
        yield n_frames - 1, event


@given(videos, lengths, contexts)
def test_every_frame_is_core_once_in_order(video, max_length, context):
    events = [event for _, event in drive(*video, max_length, context)]
    core = [e.number for e in events if isinstance(e, Step) and e.core]
    assert core == list(range(video[0]))


@given(videos, lengths, contexts)
def test_one_chunk_is_open_at_a_time_and_its_frames_are_consecutive(
    video, max_length, context
):
    open_chunk, fed, start, next_chunk, covered = None, [], 0, 0, 0
    for _, event in drive(*video, max_length, context):
        if isinstance(event, Begin):
            assert open_chunk is None
            assert event.chunk == next_chunk
            assert event.start == covered
            open_chunk, fed, start = event.chunk, [], event.start
        elif isinstance(event, Step):
            assert not fed or event.number == fed[-1] + 1
            assert event.frame == event.number
            fed.append(event.number)
        else:
            assert event.chunk == open_chunk
            assert start == event.start < event.stop <= start + max_length
            open_chunk, covered, next_chunk = None, event.stop, next_chunk + 1
    assert open_chunk is None
    assert covered == video[0]


@given(videos, lengths, contexts)
def test_no_chunk_reaches_across_a_cut(video, max_length, context):
    n_frames, cuts = video
    for chunk in chunks_of(cuts, n_frames, max_length, context):
        inside = range(chunk.context_start + 1, chunk.context_stop)
        assert not cuts.intersection(inside)


@given(videos, lengths, contexts)
def test_context_is_as_long_as_the_scene_allows_and_only_at_forced_boundaries(
    video, max_length, context
):
    n_frames, cuts = video
    bounds = sorted({0, n_frames} | cuts)
    for chunk in chunks_of(cuts, n_frames, max_length, context):
        scene_start = max(b for b in bounds if b <= chunk.start)
        scene_stop = min(b for b in bounds if b >= chunk.stop)
        assert chunk.context_start == max(scene_start, chunk.start - context)
        assert chunk.context_stop == min(scene_stop, chunk.stop + context)
        assert chunk.length == max_length or chunk.stop == scene_stop


@given(videos, lengths, contexts)
def test_frames_fed_are_known_and_still_in_the_history(video, max_length, context):
    history = Chunker(max_length, context).history
    assert history <= 2 * context
    for newest, event in drive(*video, max_length, context):
        if isinstance(event, Step):
            assert newest - history <= event.number <= newest


@given(videos, lengths)
def test_without_context_every_push_feeds_its_own_frame(video, max_length):
    n_frames, cuts = video
    chunker = Chunker(max_length, 0)
    for frame in range(n_frames):
        events = chunker.push(frame, cut=frame in cuts)
        fed = [e for e in events if isinstance(e, Step)]
        assert [e.number for e in fed] == [frame]
        assert fed[0].core


@given(videos, lengths, contexts)
def test_chunks_of_agrees_with_the_events(video, max_length, context):
    n_frames, cuts = video
    chunks = []
    fed: list[int] = []
    for _, event in drive(n_frames, cuts, max_length, context):
        if isinstance(event, Begin):
            fed, start = [], event.start
        elif isinstance(event, Step):
            fed.append(event.number)
        elif isinstance(event, End):
            chunks.append(Chunk(event.chunk, start, event.stop, fed[0], fed[-1] + 1))
    assert chunks_of(cuts, n_frames, max_length, context) == chunks


@given(videos, lengths, contexts)
def test_a_chunk_alone_has_the_events_that_the_stream_has(video, max_length, context):
    n_frames, cuts = video
    streamed = [event for _, event in drive(n_frames, cuts, max_length, context)]
    alone = []
    for chunk in chunks_of(cuts, n_frames, max_length, context):
        frames = range(chunk.context_start, chunk.context_stop)
        continues = chunk.start not in cuts and chunk.start > 0
        alone += events_of(chunk, frames, continues=continues)
    assert alone == streamed


def test_a_chunk_needs_exactly_its_frames():
    with pytest.raises(ValueError, match="argument"):
        list(events_of(Chunk(0, 0, 4, 0, 6), range(5), continues=False))


def test_an_example_by_hand():
    assert chunks_of({7}, 10, 4, 2) == [
        Chunk(0, 0, 4, 0, 6),
        Chunk(1, 4, 7, 2, 7),
        Chunk(2, 7, 10, 7, 10),
    ]


def test_an_empty_video_has_no_chunks():
    assert chunks_of([], 0, 4, 2) == []


@pytest.mark.parametrize(("max_length", "context"), [(0, 0), (1, -1)])
def test_senseless_limits_are_refused(max_length, context):
    with pytest.raises(ValueError, match="must"):
        Chunker(max_length, context)


def test_a_negative_number_of_frames_is_refused():
    with pytest.raises(ValueError, match="n_frames"):
        chunks_of([], -1, 4, 2)


def test_nothing_may_follow_the_end():
    chunker = Chunker(4, 2)
    chunker.finish()
    with pytest.raises(ValueError, match="after finish"):
        chunker.push(None, cut=False)
    with pytest.raises(ValueError, match="twice"):
        chunker.finish()
