# Part of nestc, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for details.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Digits as text, as images and as speech, in tokens of one vocabulary.

Images are scikit-learn's (8 x 8, 17 greys), cut into 2 x 2 patches; speech is
what espeak-ng says, as frames of a log-mel spectrum.  Both are coded by
k-means.  An example is <s> and the three segments of one digit in any order,
each after the token that names its modality; a row is examples up to its end."""

import random
import subprocess

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

SEED = 20240607
NAMES = "zero one two three four five six seven eight nine".split()
LETTERS = sorted(set("".join(NAMES)))
IMAGE_CODES, SPEECH_CODES = 64, 32
TEXT = ["<s>", "<text>", *LETTERS]
IMAGE = len(TEXT)  # <image>, then the codes
SPEECH = IMAGE + 1 + IMAGE_CODES  # <speech>, then the codes
VOCAB = SPEECH + 1 + SPEECH_CODES

ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029"]
VOICES = ["m1", "m2", "m3", "m5", "m6", "m7", "f1", "f2", "f3", "f5"]
HELD_VOICES = ["m4", "f4"]
FRAME, HOP, BANDS, LONGEST = 1024, 640, 24, 24


def modalityOf(tokens):
    """0 text, 1 image, 2 speech: by the token's range, its opening token too."""
    return ((tokens >= IMAGE).astype(np.int32) + (tokens >= SPEECH)).astype(np.int32)


# --- Images -------------------------------------------------------------------


def patches(images):
    """[N, 8, 8] to [N, 16, 4], patches and their pixels row by row."""
    return images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 4)


def shift(image, down, right):
    moved = np.zeros((10, 10), image.dtype)
    moved[1 + down : 9 + down, 1 + right : 9 + right] = image
    return moved[1:9, 1:9]


def imageFromCodes(codes, codebook):
    return codebook[codes].reshape(4, 4, 2, 2).transpose(0, 2, 1, 3).reshape(8, 8)


# --- Speech -------------------------------------------------------------------


def melFilters(rate):
    mel = np.linspace(2595 * np.log10(1 + 80 / 700), 2595 * np.log10(1 + 8000 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(FRAME, 1 / rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def say(name, voice, speed, pitch):
    """Frames [n, BANDS] of log energy relative to the loudest, silence cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", name]
    wave = subprocess.run(command, check=True, capture_output=True).stdout
    rate = int.from_bytes(wave[24:28], "little")
    samples = np.frombuffer(wave[44 : 44 + (len(wave) - 44) // 2 * 2], "<i2") / 32768.0
    samples = np.pad(samples, (0, FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2 @ melFilters(rate)
    energy = np.log(power + 1e-9)
    energy = np.maximum(energy - energy.max(), -10.0)
    loud = np.flatnonzero(energy.max(-1) > -7.0)
    return energy[loud[0] : loud[-1] + 1][:LONGEST].astype(np.float32)


def sayAll(voices):
    """(digit, frames) of every accent, voice, speed and pitch."""
    return [
        (digit, say(name, f"{accent}+{voice}", speed, pitch))
        for digit, name in enumerate(NAMES)
        for accent in ACCENTS
        for voice in voices
        for speed in (140, 180)
        for pitch in (30, 45, 60)
    ]


# --- Tokens -------------------------------------------------------------------


def cluster(points, count):
    means = KMeans(count, n_init=1, max_iter=100, random_state=SEED).fit(points)
    return means.cluster_centers_.astype(np.float32)


def nearest(points, codebook):
    return ((points[..., None, :] - codebook) ** 2).sum(-1).argmin(-1)


class Data:
    """The codebooks, and per digit its segments of each modality."""

    def __init__(self):
        digits = load_digits()
        images = (digits.images / 16).astype(np.float32)
        held = np.arange(len(images)) % 10 == 5
        shifts = [(down, right) for down in (0, -1, 1) for right in (0, -1, 1)]
        moved = np.stack([shift(i, *s) for i in images[~held] for s in shifts])
        labels = digits.target[~held].repeat(len(shifts))
        self.imageCodebook = cluster(patches(moved[:: len(shifts)]).reshape(-1, 4), IMAGE_CODES)
        spoken, heldSpoken = sayAll(VOICES), sayAll(HELD_VOICES)
        self.speechCodebook = cluster(np.concatenate([f for _, f in spoken]), SPEECH_CODES)
        self.train = self.segments(moved, labels, spoken)
        self.held = self.segments(images[held], digits.target[held], heldSpoken)

    def segments(self, images, labels, spoken):
        text = [[[1, *(TEXT.index(c) for c in name)]] for name in NAMES]
        image, speech = [[] for _ in NAMES], [[] for _ in NAMES]
        for codes, label in zip(nearest(patches(images), self.imageCodebook), labels):
            image[label].append([IMAGE, *(codes + IMAGE + 1).tolist()])
        for label, frames in spoken:
            codes = nearest(frames, self.speechCodebook)
            speech[label].append([SPEECH, *(codes + SPEECH + 1).tolist()])
        return [text, image, speech]

    def rows(self, segments, chooser, count, length):
        rows = []
        for _ in range(count):
            row = []
            while len(row) < length:
                digit = chooser.randrange(10)
                example = [chooser.choice(modality[digit]) for modality in segments]
                chooser.shuffle(example)
                row += [0, *sum(example, [])]
            rows.append(row[:length])
        return np.array(rows, np.int32)

    def heldRows(self, count, length):
        return self.rows(self.held, random.Random(SEED), count, length)
