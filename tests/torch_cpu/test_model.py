"""What the model may see, what its output directory holds and how answers are read off; trains next to nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from tests.torch_cpu import tiny
from trainables.catalogue.encoder import PlantedAlignment
from trainables.catalogue.task import Kind
from trainables.data.batches import Sampler, batch, draw_hidden, shard
from trainables.data.layouts import answer_tokens
from trainables.data.rows import rows
from trainables.data.sequences import ABSENT, Rows, answer_text
from trainables.data.tokens import lab_forms, piece, small_tokenizer, tokenise, tokenizer
from trainables.model.encoder import build, planted_vectors
from trainables.model.reader import LONGEST_ANSWER, REPLACED_WEIGHT, Reader, best_spans
from trainables.settings import Visible
from trainables.training.loop import run_stage


@pytest.fixture(scope="module")
def reader() -> Reader:
    made = Reader(build(tiny.ENCODER, 0, 0.0), tiny.ENCODER, 0, 0.0).eval()
    made.head(tiny.VISUAL.head, 3)
    return made


def laid_out(of, visible=Visible.BOTH) -> Rows:
    return rows(of, "test", None, tiny.ENCODER, visible)


@torch.no_grad()
def logits(reader: Reader, data: Rows, chosen) -> torch.Tensor:
    return reader.logits(batch(data, np.asarray(chosen)), tiny.VISUAL.head, 3)


def test_an_image_only_model_cannot_tell_hypotheses_apart(reader):
    data = laid_out(tiny.VISUAL, Visible.IMAGE_ONLY)
    english, german = np.arange(24), np.arange(24, 48)
    assert torch.equal(logits(reader, data, english), logits(reader, data, german))
    assert not torch.allclose(logits(reader, data, [0]), logits(reader, data, [1]))


def test_a_hypothesis_only_model_cannot_tell_images_apart(reader):
    hidden, shown = laid_out(tiny.VISUAL, Visible.HYPOTHESIS_ONLY), laid_out(tiny.VISUAL)
    assert batch(hidden, np.arange(4)).images is None
    assert not torch.allclose(logits(reader, hidden, [0]), logits(reader, shown, [0]))
    assert not torch.allclose(logits(reader, hidden, [0]), logits(reader, hidden, [1]))


def test_a_row_is_answered_alike_whatever_it_is_padded_to(reader):
    data = laid_out(tiny.VISUAL)
    shortest, longest = int(data.lengths.argmin()), int(data.lengths.argmax())
    together = logits(reader, data, [shortest, longest])
    assert torch.allclose(together[:1], logits(reader, data, [shortest]), atol=1e-6)


def test_patches_take_no_text_position(reader):
    data = laid_out(tiny.VISUAL)
    alone = batch(data, np.arange(2))
    seen = {}
    hook = reader.trunk.embeddings.position_embeddings.register_forward_hook(
        lambda module, inputs, output: seen.update(positions=inputs[0])
    )
    reader.states(alone)
    hook.remove()
    assert (seen["positions"][:, :9] == 1).all()  # the padding's, whose vector is zero
    assert seen["positions"][0, 9:12].tolist() == [2, 3, 4]


def test_the_output_of_a_stage_loads_with_transformers_and_gives_the_same_states(tmp_path):
    stage = tiny.training(tiny.NLI, steps=2)
    run_stage(stage, parent=None, output=tmp_path / "out")
    model = AutoModel.from_pretrained(tmp_path / "out", add_pooling_layer=False).eval()
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")
    said = tokens("the red circle is big", "there is a ring", return_tensors="pt")
    ours = tokenizer(tiny.ENCODER)("the red circle is big", "there is a ring", return_tensors="pt")
    assert torch.equal(said["input_ids"], ours["input_ids"])

    from trainables.training.checkpoint import read_model

    mine = read_model(tmp_path / "out", tiny.ENCODER, seed=0, dropout=0.0, carry_heads=True).eval()
    data = laid_out(tiny.NLI)
    part = batch(data, np.arange(6))
    mask = (torch.arange(part.ids.shape[1]) < part.lengths[:, None]).long()
    with torch.no_grad():
        types = (torch.arange(part.ids.shape[1]) >= part.starts[:, None]).long()
        theirs = model(input_ids=part.ids, token_type_ids=types, attention_mask=mask).last_hidden_state
        states = mine.states(part)
    assert torch.allclose(theirs[mask.bool()], states[mask.bool()], atol=1e-6)


def test_every_sentence_of_the_lab_falls_into_known_words():
    tokens = tokenizer(tiny.ENCODER)
    unknown = tokens.unk_token_id
    data = laid_out(tiny.NLI)
    assert unknown not in data.sequences.tokens.values
    forms = lab_forms()
    for language, words in forms.items():
        for word in words:
            found = tokens(word, add_special_tokens=False)["input_ids"]
            assert unknown not in found, (language, word)


def test_a_word_of_an_unspaced_language_is_one_token():
    forms = {"zh": {"红色": "red", "圆": "circle"}, "en": {"red": "red"}, "th": {"สีแดง": "red", "วงกลม": "circle"}}
    tokens = small_tokenizer(forms, 32)
    for text, words in (("红色圆。", ["▁", "红色", "圆", "。"]), ("วงกลมสีแดง", ["▁", "วงกลม", "สีแดง"])):
        ids = tokenise([text], tokens).row(0)
        assert tokens.convert_ids_to_tokens(ids.tolist()) == words


def test_planted_distances_are_the_angles_between_words_and_their_concepts():
    forms = {
        "en": {"red": "red"},
        "de": {"rot": "red", "red": "speech"},
        "sw": {"nyekundu": "red"},
        "xx": {"zork": "red"},
    }
    names = ["<s>", *(piece(word, language) for language, words in forms.items() for word in words)]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    alignment = PlantedAlignment(distance=(("en", 0.0), ("de", 0.2), ("sw", 3.0), ("xx", 0.0)), unaligned=("xx",))
    vectors = planted_vectors(vocabulary, forms, alignment, 400)

    def cosine(left, right):
        a, b = vectors[vocabulary[left]], vectors[vocabulary[right]]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine("▁red", "▁rot") == pytest.approx(1 / np.sqrt(1.04), abs=0.03)
    assert cosine("▁red", "▁nyekundu") == pytest.approx(1 / np.sqrt(10), abs=0.15)
    assert abs(cosine("▁red", "▁zork")) < 1e-6
    fewer = {language: words for language, words in forms.items() if language != "de"}
    assert np.array_equal(
        planted_vectors(vocabulary, fewer, alignment, 400)[vocabulary["▁red"]], vectors[vocabulary["▁red"]]
    )


def test_span_answers_are_found_and_read_back():
    data = rows(tiny.SQUAD, "test", None, tiny.ENCODER)
    for number in range(len(data)):
        first, last = data.labels[number]
        assert answer_text(data, number, int(first), int(last)).strip(" ,") == data.answers[number][0]


def test_an_answer_that_was_cut_off_or_is_not_there_has_no_tokens():
    places = np.array([0 << 32 | 3, 3 << 32 | 7, 7 << 32 | 12])
    assert answer_tokens(places, 4, 7, kept=3) == (1, 1)
    assert answer_tokens(places, 4, 12, kept=3) == (1, 2)
    assert answer_tokens(places, 4, 12, kept=2) == (ABSENT, ABSENT)
    assert answer_tokens(places, -1, -1, kept=3) == (ABSENT, ABSENT)


def test_the_best_span_starts_before_it_ends_and_is_not_too_long():
    scores = torch.full((2, 40, 2), -10.0)
    scores[:, :2] = float("-inf")
    scores[0, 9, 0], scores[0, 5, 1], scores[0, 12, 1] = 5.0, 9.0, 3.0
    scores[1, 3, 0], scores[1, 39, 1], scores[1, 3 + LONGEST_ANSWER - 1, 1] = 5.0, 9.0, 1.0
    found = best_spans(scores, torch.tensor([2, 2]))
    assert found[:, :2].tolist() == [[7, 10], [1, 1 + LONGEST_ANSWER - 1]]
    assert found[:, 2].tolist() == [8.0, 6.0] and torch.isinf(found[:, 3]).all()


def test_masks_cover_target_words_alone_and_are_the_same_for_every_division():
    data = rows(tiny.PARALLEL, "test", None, tiny.ENCODER)
    chosen = np.arange(12)
    hidden = draw_hidden(data, chosen, 0.3, seed=5)
    again = draw_hidden(data, chosen, 0.3, seed=5)
    assert np.array_equal(hidden.places, again.places) and np.array_equal(hidden.shown, again.shown)
    whole = batch(data, chosen, hidden)
    parts = [batch(data, part, hidden) for part in shard(chosen, 5)]
    assert whole.hidden.any(1).all()  # one at least in every row
    assert torch.equal(whole.originals, torch.cat([part.originals for part in parts]))
    columns = torch.arange(whole.ids.shape[1])
    target = (columns >= whole.starts[:, None]) & (columns < (whole.starts + whole.second_lengths)[:, None])
    assert not (whole.hidden & ~target).any()
    assert (whole.ids[whole.hidden] == tokenizer(tiny.ENCODER).mask_token_id).all()


def test_replaced_words_could_stand_where_they_are_shown_and_keep_the_truth_beside_them():
    data = rows(tiny.PARALLEL, "test", None, tiny.ENCODER)
    chosen = np.arange(24)
    masked = draw_hidden(data, chosen, 0.5, seed=5)
    hidden = draw_hidden(data, chosen, 0.5, seed=5, replaced_share=0.6)
    assert np.array_equal(hidden.places, masked.places)  # the same words are hidden, in another way
    replaced = hidden.shown != data.template.mask
    assert 0.45 < replaced.mean() < 0.75
    values = data.sequences.tokens.values
    between = {(int(a), int(w), int(b)) for a, w, b in zip(values, values[1:], values[2:], strict=False)}
    for place, word in zip(hidden.places[replaced], hidden.shown[replaced], strict=True):
        assert (int(values[place - 1]), int(word), int(values[place + 1])) in between
    assert (hidden.shown[replaced] != values[hidden.places[replaced]]).any()
    whole = batch(data, chosen, hidden)
    parts = [batch(data, part, hidden) for part in shard(chosen, 5)]
    assert torch.equal(whole.originals, torch.from_numpy(values[hidden.places]))
    assert torch.equal(torch.cat([part.ids[part.hidden] for part in parts]), torch.from_numpy(hidden.shown))


def test_replaced_token_detection_is_asked_of_every_word_that_is_no_mask():
    data = rows(tiny.PARALLEL, "test", None, tiny.ENCODER)
    chosen = np.arange(24)
    part = batch(data, chosen, draw_hidden(data, chosen, 0.5, seed=5, replaced_share=0.6))
    reader = Reader(build(tiny.ENCODER, 0, 0.0), tiny.ENCODER, 0, 0.0)
    without, words = reader.loss(part, "masked_lm", 0)
    originals = part.ids.masked_scatter(part.hidden, part.originals)
    columns = torch.arange(part.ids.shape[1])
    target = (columns >= part.starts[:, None]) & (columns < (part.starts + part.second_lengths)[:, None])
    read = target & (part.ids != part.mask)
    gold = part.ids != originals
    assert gold[read].any() and not gold[read].all()
    reader.head("replaced")
    for answer, expected in ((gold, 0.0), (gold ^ read, 20.0 * int(read.sum()))):
        reader.heads["replaced"].forward = lambda states, answer=answer: answer.float() * 40 - 20
        loss, count = reader.loss(part, "masked_lm", 0)
        assert count == words  # the mean stays one per hidden word, however many words are read
        assert (loss - without).item() == pytest.approx(REPLACED_WEIGHT * expected, abs=1e-3)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=50),
    size=st.integers(1, 7),
    seed=st.integers(0, 2**40),
)
def test_every_epoch_sees_every_row_once_whatever_the_batch(lengths, size, seed):
    sampler = Sampler(np.array(lengths), size, seed, "task", pool=4)
    pool = np.concatenate([sampler.rows(step) for step in range(16)])
    counts = np.bincount(pool, minlength=len(lengths))
    assert counts.max() - counts.min() <= 1
    again = Sampler(np.array(lengths), size, seed, "task", pool=4)
    assert np.array_equal(again.rows(37), sampler.rows(37))


def test_kinds_are_laid_out_with_special_tokens_where_they_belong():
    tokens = tokenizer(tiny.ENCODER)
    data = laid_out(tiny.NLI)
    assert data.kind is Kind.PAIR
    text = tokens.convert_ids_to_tokens(data.sequences.tokens.row(0).tolist())
    assert text[0] == "<s>" and text[-1] == "</s>" and text.count("</s>") == 3
