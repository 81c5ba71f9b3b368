"""Pixel similarities, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guda.methods.similarity.compute import similarities, similarity

PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)
IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(1), st.just(2), st.just(2)))


def gray(*pixels):
    """uint8 images of 1x1x2 from pixel pairs: 0, 51, 204 and 255 are -1, -0.6, 0.6 and 1 in network range."""
    return np.array(pixels, dtype=np.uint8).reshape(len(pixels), 1, 1, 2)


def test_euclidean_is_minus_the_distance():
    # (1, 1) to (1, 1), (1, -1), (-1, -1), (0.6, -0.6): 0, 2, 2 sqrt 2, sqrt(0.16 + 2.56).
    found = similarity(gray((255, 255)), gray((255, 255), (255, 0), (0, 0), (204, 51)), "euclidean")
    np.testing.assert_allclose(found, [[0, -2, -np.sqrt(8), -np.sqrt(2.72)]], atol=1e-7)


def test_cosine_is_the_angle():
    # (1, 0.6) with (1, 0.6), (-1, -0.6), (0.6, -1), (1, 1): 1, -1, 0, 1.6 / sqrt(1.36 * 2).
    found = similarity(gray((255, 204)), gray((255, 204), (0, 51), (204, 0), (255, 255)), "cosine")
    np.testing.assert_allclose(found, [[1, -1, 0, 1.6 / np.sqrt(2.72)]], atol=1e-12)


def test_all_pixels_count_whatever_the_shape():
    query, image = np.zeros((1, 3, 2, 2), np.uint8), np.full((1, 3, 2, 2), 255, np.uint8)
    # Twelve pixels that differ by 2: sqrt(12 * 4).
    np.testing.assert_allclose(similarity(query, image, "euclidean"), [[-np.sqrt(48)]])


@pytest.mark.parametrize("kind", ["euclidean", "cosine"])
def test_blocks_of_queries_and_images_give_the_same(kind, monkeypatch):
    draw = np.random.default_rng(0)
    queries, images = (draw.integers(0, 256, (n, 1, 5, 5), dtype=np.uint8) for n in (70, 500))
    whole = similarity(queries, images, kind)
    monkeypatch.setattr("guda.methods.similarity.compute.SIMILARITIES", 20 * 500)
    monkeypatch.setattr("guda.methods.similarity.compute.PIXELS", 200 * 25)
    blocks = list(similarities(queries, images, kind))
    assert [len(block) for block in blocks] == [16, 16, 16, 22]
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_flat_images_have_a_cosine(value):
    # Black is (-1, -1). No uint8 image maps to zero: 127 and 128 are -1/255 and 1/255.
    black, flat = gray((0, 0)), gray((value, value))
    np.testing.assert_allclose(similarity(flat, black, "cosine"), [[1 if value < 128 else -1]])


@PROPERTY
@given(IMAGES, IMAGES)
def test_similarities_agree_with_a_loop(queries, images):
    q, x = (values.reshape(len(values), -1) / 127.5 - 1 for values in (queries, images))
    distance = [[np.linalg.norm(a - b) for b in x] for a in q]
    angle = [[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in x] for a in q]
    # ||a||^2 + ||b||^2 - 2ab rounds at 1e-15, the root of which is 3e-8.
    np.testing.assert_allclose(similarity(queries, images, "euclidean"), -np.array(distance), atol=1e-7)
    np.testing.assert_allclose(similarity(queries, images, "cosine"), angle, atol=1e-12)
