"""Callbacks on each backend: their effect must reach the state that `fit` goes on with."""

import csv
import importlib.util
import struct

import keras
import numpy as np
import pytest
from reference import array, singular_values

import lipkit
from lipkit.callbacks import CondenseCallback, FiniteGuard, MonitorCallback, _events

BACKEND = keras.backend.backend()


def nested():
    """A model in a model."""
    dense = {"parametrization": "bjorck", "kernel_initializer": "he_normal"}
    x = keras.Input((4,))
    inner = keras.Model(x, lipkit.layers.SpectralDense(4, name="deep", **dense)(x), name="inner")
    made = lipkit.Sequential(
        [keras.Input((4,)), inner, lipkit.layers.SpectralDense(1, name="top", **dense)]
    )
    made.compile(keras.optimizers.SGD(0.1), "mse")
    return made


@pytest.fixture
def data(rng):
    return rng.standard_normal((8, 4)).astype("float32"), rng.standard_normal((8, 1))


@pytest.mark.parametrize("on", [{}, {"on_epoch": False, "on_batch": True}])
def test_condense_reaches_nested_models_and_keeps_the_function(on, data):
    seen = []

    class Before(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(array(self.model(data[0])))

        on_epoch_end = on_train_batch_end

    model = nested()
    model.fit(*data, batch_size=4, verbose=0, callbacks=[Before(), CondenseCallback(**on)])
    deep, top = (layer for layer in model._flatten_layers() if layer.name in ("deep", "top"))
    for layer in (deep, top):
        assert array(layer._kernel) == pytest.approx(array(layer.kernel), abs=1e-4)
    assert array(model(data[0])) == pytest.approx(seen[-1], abs=1e-4)


def test_without_the_callback_free_kernels_are_not_condensed(data):
    model = nested()
    model.fit(*data, verbose=0, callbacks=[CondenseCallback(on_epoch=False)])
    deep = model.get_layer("inner").get_layer("deep")
    assert np.abs(array(deep._kernel) - array(deep.kernel)).max() > 0.05


@pytest.mark.parametrize(
    "callback",
    [
        CondenseCallback(False, True),
        MonitorCallback(["a"], "folder", "wbar", "all", on_epoch=False),
        FiniteGuard(3, "a.weights.h5"),
    ],
)
def test_configuration_gives_an_equal_callback(callback):
    again = type(callback)(**callback.get_config())
    assert again.get_config() == callback.get_config()


def records(path):
    """The data of the records of an event file, whose checksums must be right."""
    raw, out = path.read_bytes(), []
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        data = raw[12 : 12 + length]
        assert raw[: 16 + length] == _events._record(data) and len(data) == length
        out.append(data)
        raw = raw[16 + length :]
    return out


def fields(message):
    """The fields of a protocol buffer: a list of (number, value)."""
    out, i = [], 0

    def varint():
        nonlocal i
        n = shift = 0
        while True:
            byte, i = message[i], i + 1
            n, shift = n | (byte & 127) << shift, shift + 7
            if byte < 128:
                return n

    while i < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            out.append((number, varint()))
            continue
        size = {1: 8, 2: None, 5: 4}[kind] or varint()
        part, i = message[i : i + size], i + size
        value = part if kind == 2 else struct.unpack("<d" if kind == 1 else "<f", part)[0]
        out.append((number, value))
    return out


def read(folder):
    """The (step, tag, value) of the summaries in a folder; a histogram as its fields."""
    (path,) = folder.glob("*tfevents*")
    events = [dict(fields(data)) for data in records(path)]
    assert events[0][3] == b"brain.Event:2"
    out = []
    for event in events[1:]:
        value = dict(fields(dict(fields(event[5]))[1]))
        assert event[1] > 1e9
        out.append((event[2], value[1].decode(), value.get(2) or dict(fields(value[5]))))
    return out


def test_checksums_are_those_of_the_format():
    # RFC 3720, B.4: CRC-32C of 32 zeros is 8A9136AA; the format rotates it and adds a constant
    expected = ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _events._checksum(bytes(32)) == struct.pack("<I", expected)


@pytest.mark.parametrize("on_batch", [False, True])
def test_monitor_writes_the_largest_singular_value_without_tensorflow(on_batch, data, tmp_path):
    model, truth = nested(), []

    class Truth(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            deep = self.model.get_layer("inner").get_layer("deep")
            truth.append(singular_values(deep._kernel)[0])

    monitor = MonitorCallback(["deep", "top"], tmp_path, on_batch=on_batch)
    model.fit(*data, batch_size=4, epochs=2, verbose=0, callbacks=[Truth(), monitor])
    steps, expected = ([1, 2, 3, 4], truth) if on_batch else ([1, 2], truth[1::2])
    tag = "deep_kernel_sigmas"
    assert set(monitor.history) == {tag, "top_kernel_sigmas"}
    assert [step for step, _ in monitor.history[tag]] == steps
    assert [value for _, value in monitor.history[tag]] == pytest.approx(expected, rel=1e-6)
    written = [(step, value) for step, name, value in read(tmp_path / "metrics") if name == tag]
    assert [step for step, _ in written] == steps
    assert [value for _, value in written] == pytest.approx(expected, rel=1e-6)
    rows = list(csv.DictReader((tmp_path / "sigmas.csv").read_text().splitlines()))
    mine = [row for row in rows if row["tag"] == tag]
    assert [int(row["step"]) for row in mine] == steps and mine[0]["index"] == "0"
    assert [float(row["sigma"]) for row in mine] == pytest.approx(expected, rel=1e-6)


def test_monitor_of_the_kernel_as_used_writes_a_histogram(data, tmp_path):
    model = nested()
    monitor = MonitorCallback(["deep"], tmp_path, target="wbar", what="all")
    for _ in range(2):  # the table goes on, under one head
        model.fit(*data, verbose=0, callbacks=[monitor])
        (path,) = (tmp_path / "metrics").glob("*tfevents*")
        ((step, tag, histo),) = read(tmp_path / "metrics")
        path.unlink()
    assert (step, tag) == (1, "deep_wbar_sigmas") and len(monitor.history[tag]) == 2
    assert monitor.history[tag][0][1] == pytest.approx(np.ones(4), abs=1e-3)
    assert (histo[1], histo[2], histo[3], histo[4]) == pytest.approx((1, 1, 4, 4), abs=1e-3)
    assert sum(struct.unpack(f"<{len(histo[7]) // 8}d", histo[7])) == 4
    assert len(histo[6]) == len(histo[7])
    rows = list(csv.reader((tmp_path / "sigmas.csv").read_text().splitlines()))
    assert rows[0] == ["step", "tag", "index", "sigma"] and len(rows) == 9


@pytest.mark.skipif(BACKEND != "tensorflow", reason="reads the file back with TensorFlow's classes")
def test_event_files_are_read_by_tensorflow(tmp_path):
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    file = _events.EventFile(tmp_path)
    file.add("one", 300, 1.5)
    file.add("many", 2, np.array([1.0, 2.0, 4.0]))
    raw = tf.data.TFRecordDataset(str(file.path)).as_numpy_iterator()  # checks the checksums
    start, one, many = (event_pb2.Event.FromString(record) for record in raw)
    assert start.file_version == "brain.Event:2"
    assert (one.step, one.summary.value[0].tag, one.summary.value[0].simple_value) == (
        *(300, "one", 1.5),
    )
    histo = many.summary.value[0].histo
    assert (histo.min, histo.max, histo.num, histo.sum, histo.sum_squares) == (1, 4, 3, 7, 21)
    assert sum(histo.bucket) == 3 and histo.bucket_limit[-1] == 4


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="no tensorboard")
def test_event_files_are_read_by_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _events.EventFile(tmp_path).add("one", 3, 1.5)
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("one")] == [(3, 1.5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("deep", "x"), "must be a list of layer names.*'deep'"),
        (([], "x"), "must be a list of layer names"),
        ((["deep"], "x", "sigma"), "`target` must be.*'sigma'"),
        ((["deep"], "x", "wbar", "min"), "`what` must be.*'min'"),
    ],
)
def test_bad_arguments_of_the_monitor(arguments, message):
    with pytest.raises(ValueError, match=message):
        MonitorCallback(*arguments)


@pytest.mark.parametrize("name", ["nobody", "inner"])
def test_monitor_of_a_layer_without_kernel_says_so_before_training(name, data, tmp_path):
    with pytest.raises(ValueError, match=f"layers with a kernel.*'{name}'"):
        nested().fit(*data, verbose=0, callbacks=[MonitorCallback([name], tmp_path)])


def line(optimizer=None, **kwargs):
    layers = [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
    model = keras.Sequential(layers)
    model.compile(optimizer or keras.optimizers.SGD(0.01, momentum=0.5), "mse", **kwargs)
    return model


def poisoned(batches, at):
    """Batches of one sample, of which one is not a number."""
    x = np.linspace(1, 2, batches)[:, None].astype("float32")
    x[at] = np.nan
    return {"x": x, "y": np.zeros((batches, 1)), "batch_size": 1, "shuffle": False, "verbose": 0}


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("eager", [False, True])
def test_guard_stops_at_the_first_bad_loss_and_restores(every, eager):
    model, states = line(run_eagerly=eager), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            variables = [*self.model.variables, *self.model.optimizer.variables]
            states.append([array(v) for v in variables])

    start = array(model.layers[0].kernel)
    guard = FiniteGuard(every)
    with pytest.warns(RuntimeWarning, match="the loss is nan after batch 6"):
        model.fit(**poisoned(9, at=5), callbacks=[Watch(), guard])
    assert len(states) == 6 and guard.stopped == "the loss is nan after batch 6"
    now = [array(v) for v in [*model.variables, *model.optimizer.variables]]
    if every:
        assert all((a == b).all() for a, b in zip(now, states[3], strict=True))
    else:
        assert (now[0] == start).all() and not np.isnan(
            np.concatenate([a.ravel() for a in now])
        ).any()
    good = poisoned(4, at=3)
    good["x"] = np.ones_like(good["x"])
    assert np.isfinite(model.fit(**good).history["loss"]).all()


def test_guard_finds_a_bad_weight_at_the_end_of_an_epoch(tmp_path):
    """The last step of an epoch spoils the weights after its loss was computed."""
    model = line(keras.optimizers.SGD(1e30))
    x, y = np.full((1, 1), 1e15, "float32"), np.zeros((1, 1))
    guard = FiniteGuard(filepath=tmp_path / "good.weights.h5")
    with pytest.warns(RuntimeWarning, match="not finite at the end of epoch 1.*of the start"):
        history = model.fit(x, y, epochs=3, verbose=0, callbacks=[guard])
    assert len(history.epoch) == 1 and array(model.layers[0].kernel) == 1
    model.layers[0].kernel.assign([[7.0]])
    model.load_weights(tmp_path / "good.weights.h5")
    assert array(model.layers[0].kernel) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["good.weights.h5"]


def test_guard_does_not_go_back_to_weights_that_give_no_finite_loss():
    """Finite ones, of 1e25 here, whose loss overflows."""
    model = line(keras.optimizers.SGD(1e25))
    x, y = np.ones((1, 1), "float32"), np.zeros((1, 1))
    with pytest.warns(RuntimeWarning, match="the loss is inf after batch 1.*of the start"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[FiniteGuard()])
    assert array(model.layers[0].kernel) == 1


def test_guard_makes_the_folder_of_its_file(data, tmp_path):
    model, file = line(), tmp_path / "new" / "good.weights.h5"
    model.fit(**{**poisoned(2, at=0), "x": np.ones((2, 1))}, callbacks=[FiniteGuard(None, file)])
    assert file.exists()


def test_guard_leaves_healthy_training_alone(data):
    results = []
    for callbacks in ([], [FiniteGuard(every=1)]):
        keras.utils.set_random_seed(1)
        model = nested()
        model.fit(*data, batch_size=4, shuffle=False, epochs=2, verbose=0, callbacks=callbacks)
        results.append(array(model(data[0])))
    assert (results[0] == results[1]).all()


def test_guard_refuses_a_bad_start_and_bad_arguments(data):
    model = line()
    model.layers[0].kernel.assign([[np.nan]])
    with pytest.raises(ValueError, match="cannot start: the weight '.*kernel' is not finite"):
        model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0, callbacks=[FiniteGuard()])
    with pytest.raises(ValueError, match="`every` must be an integer >= 1"):
        FiniteGuard(every=0)
    with pytest.raises(ValueError, match="must end in '.weights.h5'. Received: 'a.keras'"):
        FiniteGuard(filepath="a.keras")
