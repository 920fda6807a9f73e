import csv
import json

import keras
import numpy as np
import pytest
from reference import array, singular_values

from lipkit import callbacks, layers, models

X, Y = np.random.default_rng(0).standard_normal((2, 12, 3))


def nested():
    inner = models.Sequential(
        [keras.Input((3,)), layers.SpectralDense(4, kernel_initializer="he_normal", name="deep")]
    )
    top = layers.SpectralDense(3, kernel_initializer="he_normal", name="top")
    model = keras.Sequential([keras.Input((3,)), inner, top])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model, [inner.layers[-1], top]


def fit(model, *calls, **arguments):
    arguments = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **arguments}
    return model.fit(X, Y, callbacks=list(calls), **arguments)


class Probe(keras.callbacks.Callback):
    """Run a function after each batch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def on_train_batch_end(self, batch, logs=None):
        self.function(self.model, batch)


@pytest.mark.parametrize("arguments", [{}, {"on_epoch": False, "on_batch": True}])
def test_condense_reaches_nested_models(arguments):
    """Only the layers at the top were condensed."""
    model, dense = nested()
    fit(model, callbacks.CondenseCallback(**arguments))
    for layer in dense:
        np.testing.assert_allclose(singular_values(layer._kernel), 1, atol=1e-3)


def test_condense_can_be_off():
    model, dense = nested()
    fit(model, callbacks.CondenseCallback(on_epoch=False))
    assert singular_values(dense[0]._kernel).max() > 1.1


def rows(folder):
    with (folder / "sigmas.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("target", ["kernel", "wbar"])
@pytest.mark.parametrize("what", ["max", "all"])
@pytest.mark.parametrize("on_batch", [False, True])
def test_monitor_writes_singular_values(target, what, on_batch, tmp_path):
    model, _ = nested()
    truth = []

    def probe(model, batch):
        kernel = model.layers[0].layers[-1]
        truth.append(singular_values(kernel._kernel if target == "kernel" else kernel.kernel))

    monitor = callbacks.MonitorCallback(
        ["deep", "top"], tmp_path, target=target, what=what, on_batch=on_batch
    )
    fit(model, Probe(probe), monitor)
    fit(model, Probe(probe), monitor)
    expected = truth if on_batch else truth[2::3]
    steps = range(1, 13) if on_batch else [1, 2, 1, 2]
    tag = f"deep_{target}_sigmas"
    history = monitor.history[tag]
    assert [step for step, _ in history] == list(steps) and set(monitor.history) == {
        tag,
        f"top_{target}_sigmas",
    }
    count = 1 if what == "max" else 3
    for (_, value), sigmas in zip(history, expected, strict=True):
        np.testing.assert_allclose(np.atleast_1d(value), sigmas[:count], rtol=1e-5)
    written = [r for r in rows(tmp_path) if r["tag"] == tag]
    values = np.concatenate([np.atleast_1d(value) for _, value in history])
    np.testing.assert_array_equal([float(r["sigma"]) for r in written], values)
    assert [int(r["index"]) for r in written] == list(range(count)) * len(history)
    assert len(list((tmp_path / "metrics").glob("*tfevents*"))) == 2


def test_monitor_survives_weights_that_are_not_finite(tmp_path):
    model, (deep, _) = nested()
    deep._kernel.assign(np.full((3, 4), np.nan))
    monitor = callbacks.MonitorCallback(["deep"], tmp_path)
    fit(model, monitor, epochs=1)
    assert np.isnan(monitor.history["deep_kernel_sigmas"][0][1])
    assert rows(tmp_path)[0]["sigma"] == "nan"


def test_event_files_are_read_by_tensorflow(tmp_path):
    tf = pytest.importorskip("tensorflow")
    from lipkit.callbacks._events import EventFile

    values = np.array([3.0, 1.0, 1.0, 0.5])
    events = EventFile(tmp_path)
    events.add("some_tag", 7, 0.25)
    events.add("läyer", 300, values)
    # TensorFlow checks the checksums
    read = list(tf.compat.v1.train.summary_iterator(str(events.path)))
    assert read[0].file_version == "brain.Event:2" and read[0].wall_time > 1e9
    assert (read[1].step, read[2].step) == (7, 300)
    scalar, histogram = read[1].summary.value[0], read[2].summary.value[0]
    assert (scalar.tag, scalar.simple_value, histogram.tag) == ("some_tag", 0.25, "läyer")
    got = histogram.histo
    assert (got.min, got.max, got.num, got.sum) == (0.5, 3, 4, 5.5)
    assert got.sum_squares == np.sum(values**2) and sum(got.bucket) == 4
    assert len(got.bucket) == len(got.bucket_limit) and got.bucket_limit[-1] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitored_layers": "deep"}, "`monitored_layers` must be a list.*'deep'"),
        ({"monitored_layers": []}, "`monitored_layers`"),
        ({"target": "u"}, "`target` must be.*'u'"),
        ({"what": "min"}, "`what` must be.*'min'"),
    ],
)
def test_monitor_names_bad_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        callbacks.MonitorCallback(**{"monitored_layers": ["deep"], "logdir": tmp_path, **arguments})


@pytest.mark.parametrize("name", ["absent", "flat"])
def test_monitor_names_layers_without_kernel(name, tmp_path):
    """A warning was raised, as an exception, in the middle of training."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Flatten(name="flat")])
    monitor = callbacks.MonitorCallback([name], tmp_path)
    monitor.set_model(model)
    with pytest.raises(ValueError, match=f"`monitored_layers`.*{name!r}"):
        monitor.on_train_begin()


def state(model):
    return [array(v).copy() for v in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("bad", ["weight", "loss"])
def test_guard_restores_the_last_good_state(every, bad, tmp_path):
    model, (deep, top) = nested()
    seen = []

    def spoil(model, batch):
        seen.append(state(model))
        if len(seen) == 6 and bad == "weight":  # the last batch of the second epoch
            model.layers[-1].bias.assign([1.0, np.nan, 0.0])
        if len(seen) == 5 and bad == "loss":  # 1e30 squared overflows in the sixth
            model.layers[-1].bias.assign([1e30, 0.0, 0.0])

    file = tmp_path / "good.weights.h5"
    guard = callbacks.FiniteGuard(every=every, filepath=file)
    with pytest.warns(RuntimeWarning, match="Training was stopped: .* are restored"):
        fit(model, guard, Probe(spoil), epochs=9)
    assert len(seen) == 6
    assert ("top/bias" in guard.stopped) == (bad == "weight")
    # the end of the first epoch, or the second batch of the second epoch
    for got, expected in zip(state(model), seen[2 if every is None else 4], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    fresh, _ = nested()
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(file)
    np.testing.assert_array_equal(array(fresh.layers[-1]._kernel), array(top._kernel))
    fit(model, guard)  # and training can go on
    assert guard.stopped is None and np.isfinite(array(deep._kernel)).all()


def test_guard_changes_nothing_else():
    losses = []
    for calls in ([], [callbacks.FiniteGuard(every=1)]):
        keras.utils.set_random_seed(5)
        model, _ = nested()
        losses.append(fit(model, *calls, epochs=3).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_guard_does_not_start_from_bad_weights():
    model, (_, top) = nested()
    top.bias.assign([0.0, np.inf, 0.0])
    with pytest.raises(ValueError, match="cannot start: the weight '.*top/bias' is not finite"):
        fit(model, callbacks.FiniteGuard())
    with pytest.raises(ValueError, match="`every`.*0"):
        callbacks.FiniteGuard(every=0)
    with pytest.raises(ValueError, match="`filepath` must end in.*'a.h5'"):
        callbacks.FiniteGuard(filepath="a.h5")


def test_configurations_are_complete(tmp_path):
    """`get_config` called one that the parent does not have."""
    for callback in (
        callbacks.CondenseCallback(False, True),
        callbacks.MonitorCallback(["a"], tmp_path, "wbar", "all", on_batch=True),
        callbacks.FiniteGuard(3, "a.weights.h5"),
    ):
        config = json.loads(json.dumps(callback.get_config()))
        assert type(callback)(**config).get_config() == callback.get_config()
