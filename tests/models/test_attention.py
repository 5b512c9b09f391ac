"""What the hook sees is what diffusers computes, and networks are left as they were."""

import pytest
import torch
from diffusers.models.attention_processor import Attention as Module
from diffusers.models.attention_processor import AttnProcessor
from torch import Generator

from photovax.models.attention import attention_seen
from photovax.models.context import Context, Words
from photovax.models.edit import Edit
from photovax.models.load import load_editor

CPU = torch.device("cpu")
IN_CONTEXT = ("kontext", "flux2", "klein", "qwen-edit")


@pytest.fixture
def editor(editor_folder):
    return load_editor(str(editor_folder), device=CPU)


@pytest.fixture
def image():
    return torch.rand(2, 3, 32, 48, generator=Generator().manual_seed(0))


def looked(editor, image, mode="instruct", level=1.0, **options):
    """Attention of a pass, and the context of it."""
    context = editor.context(image, Edit(mode, "a dog", guidance=1), Generator().manual_seed(1))
    levels = torch.full((len(image),), level)
    seen = editor.attention(image, context, mode, levels, Generator().manual_seed(2), **options)
    return seen, context


def weights(block):
    scores = block.query @ block.key.mT / block.query.shape[-1] ** 0.5
    return scores.softmax(dim=-1)


def hooked(network):
    return [name for name, each in network.named_modules() if each._forward_pre_hooks]


def test_maps_are_those_of_diffusers_eager_attention(editor, image, monkeypatch):
    eager = []
    own = Module.get_attention_scores

    def scores(self, *fed):
        eager.append(own(self, *fed))
        return eager[-1]

    seen, context = looked(editor, image)
    assert [block.cross for block in seen] == [False, True] * (len(seen) // 2)
    assert all(block.block.endswith("attn2" if block.cross else "attn1") for block in seen)
    monkeypatch.setattr(Module, "get_attention_scores", scores)
    editor.denoiser("instruct").set_attn_processor(AttnProcessor())
    noise = Generator().manual_seed(2)
    editor.first_prediction(image, context, "instruct", noise)
    assert len(eager) == len(seen) > 4
    for block, theirs in zip(seen, eager, strict=True):
        torch.testing.assert_close(weights(block).flatten(0, 1), theirs, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(block.answer, weights(block) @ block.value)


@pytest.mark.parametrize("kind", IN_CONTEXT)
def test_shares_are_sums_of_the_maps_of_transformers(kind, folders, image):
    editor = load_editor(str(folders[kind]), device=CPU)
    seen, context = looked(editor, image)
    assert len(seen) == len({block.block for block in seen}) == 2
    for block in seen:
        words = context.words.tokens.shape[1]
        # 32 x 48 pixels are 2 x 3 tokens of 16 pixels, for the edit and for the photo.
        assert block.pictures == (slice(words, words + 6), slice(words + 6, words + 12))
        assert block.key.shape[2] == words + 12
        torch.testing.assert_close(block.answer, weights(block) @ block.value)
        own, photo = block.pictures
        expected = weights(block)[:, :, own, photo].sum(-1).mean((1, 2))
        torch.testing.assert_close(block.share(own, photo), expected)
        assert (expected > 0.01).all()
        assert block.share(own, slice(None)).tolist() == pytest.approx([1, 1])


def masked(keys: int) -> torch.Tensor:
    """What each of two pictures of a batch may attend to: its prompts have different lengths."""
    mask = torch.ones(2, 1, 1, keys, dtype=torch.bool)
    mask[0, ..., :3] = False
    return mask


@pytest.mark.parametrize(
    "mask",
    [masked(8), masked(8).expand(2, 1, 8, 8), torch.randn(8, 8), masked(8).float().log()],
    ids=["of keys", "of queries and keys", "added", "of keys, added"],
)
def test_no_share_goes_to_what_a_mask_hides(mask):
    """Padding of a shorter prompt would else count as attended to."""
    draws = Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 8, 4, generator=draws) for _ in range(3))
    network = torch.nn.Identity()
    network.processor = None  # type: ignore[assignment]
    with attention_seen(network) as seen:
        network(query)
        made = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, scale=0.7)
    (block,) = seen
    scores = query @ key.mT * 0.7
    scores += mask if mask.dtype.is_floating_point else mask.float().log()
    maps = scores.softmax(-1)
    torch.testing.assert_close(maps @ value, made)
    own, photo = slice(2, 5), slice(5, 8)
    torch.testing.assert_close(block.share(own, photo), maps[:, :, own, photo].sum(-1).mean((1, 2)))


def test_padded_words_of_a_transformer_get_no_share(folders, image, monkeypatch):
    """Qwen-Image-Edit masks the words that only a longer prompt of the batch has."""
    editor = load_editor(str(folders["qwen-edit"]), device=CPU)
    own = type(editor)._velocity  # type: ignore[union-attr]

    def padded(self, noisy, times, context):
        forward = self.transformer.forward

        def fed(**options):
            words = torch.ones(options["encoder_hidden_states"].shape[:2], dtype=torch.bool)
            words[0, 2:] = False
            return forward(**options | {"encoder_hidden_states_mask": words})

        with monkeypatch.context() as patch:
            patch.setattr(self.transformer, "forward", fed)
            return own(self, noisy, times, context)

    monkeypatch.setattr(type(editor), "_velocity", padded)
    seen, context = looked(editor, image)
    for block in seen:
        mine, photo = block.pictures
        words = block.share(mine, slice(2, context.words.tokens.shape[1]))
        assert words[0] == 0 < words[1]
        assert block.share(mine, slice(None)).tolist() == pytest.approx([1, 1])
        torch.testing.assert_close(
            block.share(mine, photo)[0], 1 - block.share(mine, slice(0, photo.start))[0]
        )


def test_tokens_of_the_photo_alone_follow_the_photo(folders, image):
    """At the first block keys of the photo's tokens change with the photo, and no others do."""
    editor = load_editor(str(folders["kontext"]), device=CPU)
    (first, _), _ = looked(editor, image)
    (other, _), _ = looked(editor, 1 - image)
    own, photo = first.pictures
    changed = (first.key != other.key).flatten(3).any(3)[0].any(0)
    assert changed[photo].all()
    assert not changed[: own.stop].any()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 1, 57), (19 / 57, 45 / 57, 26), (0, 19 / 57, 19), (45 / 57, 1, 12)],
)
def test_parts_of_a_networks_depth(start, end, expected):
    """FLUX.1 has 19 double blocks and 38 single ones; the published part is single 0 to 25."""
    network = torch.nn.Module()
    blocks = []
    for kind, count in (("front", 19), ("back", 38)):
        some = [torch.nn.Identity() for _ in range(count)]
        for each in some:
            each.processor = None  # type: ignore[assignment]
        network.add_module(kind, torch.nn.ModuleList(some))
        blocks += some
    q = torch.rand(1, 1, 2, 4)
    with attention_seen(network, start=start, end=end) as seen:
        for each in blocks:
            each(q)
            torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert len(seen) == expected
    if expected == 26:
        assert [seen[0].block, seen[-1].block] == ["back.0", "back.25"]


def test_places_of_odd_sides(editor):
    odd = torch.rand(1, 3, 40, 56)
    seen, _ = looked(editor, odd)
    assert {(block.grid, block.halved) for block in seen} == {((3, 4), 1)}
    assert all(block.query.shape[2] == 12 for block in seen)


def test_no_hook_is_left_even_if_the_pass_fails(editor, image):
    network = editor.denoiser("instruct")
    before = editor.first_prediction(image, looked(editor, image)[1], "instruct", Generator())
    # Prompt embeddings of another width break the pass in the middle of the network.
    narrow = Context(Words(torch.zeros(2, 3, 5)), None, torch.zeros(2, 4, 4, 6))
    with attention_seen(network):
        assert len(hooked(network)) > 4
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        editor.attention(image, narrow, "instruct", torch.ones(2), Generator())
    assert not hooked(network)
    seen, context = looked(editor, image)
    count = len(seen)
    torch.testing.assert_close(
        editor.first_prediction(image, context, "instruct", Generator()), before, atol=0, rtol=0
    )
    assert len(seen) == count


def test_levels_are_shares_of_the_schedule(editor, image, monkeypatch):
    asked = []
    network = editor.denoiser("instruct")
    network.register_forward_pre_hook(lambda _, fed: asked.append(fed[1].tolist()))
    for level in (1.0, 0.75, 0.0):
        looked(editor, image, level=level)
    last = editor.scheduler.config.num_train_timesteps - 1
    assert asked == [[last] * 2, [round(0.75 * last)] * 2, [0, 0]]
