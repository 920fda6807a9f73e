"""Parameters of losses that change during training, on each backend."""

import math

import keras
import numpy as np
import pytest
import reference
import reference_losses as truth

import lipkit
from lipkit import losses
from lipkit.callbacks import LossParamLog, LossParamScheduler

JAX = keras.backend.backend() == "jax"
BATCH = 16


class Counting(lipkit.Sequential):
    """Counts how often its loss is traced, or computed where nothing is compiled."""

    calls = 0

    def compute_loss(self, *args, **kwargs):
        self.calls += 1
        return super().compute_loss(*args, **kwargs)


def model(loss, rate=0.0, cls=lipkit.Sequential, outputs=1, **kwargs):
    """f(x) = x, which a rate of 0 keeps."""
    layers = [keras.Input((outputs,)), keras.layers.Dense(outputs, kernel_initializer="identity")]
    made = cls(layers)
    made.compile(keras.optimizers.SGD(rate), loss, **kwargs)
    return made


@pytest.fixture
def data(rng):
    x = rng.standard_normal((BATCH, 1)).astype("float32")
    return x, np.where(rng.random((BATCH, 1)) < 0.5, 1.0, -1.0).astype("float32")


def hkr(data, alpha, margin=0.3):
    hinge = reference.hinge(data[1], data[0], margin)
    return hinge if math.isinf(alpha) else alpha * hinge - reference.kr(data[1], data[0])


def fit(model, data, callbacks=(), **kwargs):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **kwargs}
    return model.fit(*data, callbacks=list(callbacks), **options).history["loss"]


@pytest.mark.parametrize("eager", [False, True])
def test_schedule_is_seen_by_the_loss_without_compiling_again(eager, data):
    alphas = [2.0, 4.0, math.inf, math.inf, 0.0, 3.0]
    loss = losses.HKR(alpha=1, min_margin=0.3)
    trained = model(loss, cls=Counting, run_eagerly=eager)
    counts = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: counts.append(trained.calls))
    schedule = LossParamScheduler("alpha", fp=alphas, xp=range(6))
    values = fit(trained, data, [schedule, watch], epochs=6)
    assert values == pytest.approx([hkr(data, a) for a in alphas], abs=1e-5)
    assert loss.alpha == 3 and schedule.step == 6
    compiles = not eager and keras.backend.backend() != "torch"
    assert counts[-1] - counts[0] == (0 if compiles else 5)
    loss.min_margin = 0.7
    assert trained.evaluate(*data, verbose=0) == pytest.approx(hkr(data, 3, 0.7), abs=1e-5)
    loss.min_margin = 0.1
    assert trained.evaluate(*data, verbose=0) == pytest.approx(hkr(data, 3, 0.1), abs=1e-5)


def test_assignment_between_the_steps_of_an_epoch(data):
    """On JAX the state is with the step then, and would be written over the new value."""
    loss = losses.HKR(alpha=1, min_margin=0.3)
    seen = []

    def next_alpha(batch, logs):
        seen.append(loss.alpha)
        loss.alpha = 2.0 * batch + 5

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=next_alpha)
    four = [np.concatenate([part] * 4) for part in data]
    (value,) = fit(model(loss), four, [watch])
    assert value == pytest.approx(np.mean([hkr(data, a) for a in (1, 5, 7, 9)]), abs=1e-5)
    assert seen == [1, 5, 7, 9] and loss.alpha == 11


@pytest.mark.parametrize("tau", [2.0, 8.0])
def test_other_parameters_follow_a_schedule(tau, data):
    loss = losses.TauBinaryCrossentropy(tau=1)
    (value,) = fit(model(loss), data, [LossParamScheduler("tau", [tau], [0])])
    assert value == pytest.approx(truth.binary_crossentropy(data[1], data[0], tau), abs=1e-5)


def test_plain_keras_model_follows_or_refuses(data):
    """A step that JAX compiled for another model has the parameter as a constant."""
    loss = losses.HKR(alpha=1, min_margin=0.3)
    plain = model(loss, cls=keras.Sequential)
    schedule = LossParamScheduler("alpha", fp=[1, 1, 9], xp=[0, 1, 2])
    if not JAX:
        values = fit(plain, data, [schedule], epochs=3)
        assert values == pytest.approx([hkr(data, a) for a in (1, 1, 9)], abs=1e-5)
        return
    with pytest.raises(RuntimeError, match="`alpha` of loss 'HKR' cannot change.*lipkit.Model"):
        fit(plain, data, [schedule], epochs=3)
    loss.alpha = 2  # nothing is compiled
    assert fit(plain, data)[0] == pytest.approx(hkr(data, 2), abs=1e-5)
    loss.alpha = 2
    with pytest.raises(RuntimeError, match="`alpha` of loss 'HKR' cannot change"):
        loss.alpha = 3
    loss = losses.HKR(alpha=1, min_margin=0.3)
    eager = model(loss, cls=keras.Sequential, run_eagerly=True)
    values = fit(eager, data, [LossParamScheduler("alpha", [1, 9], [0, 1])], epochs=2)
    assert values == pytest.approx([hkr(data, a) for a in (1, 9)], abs=1e-5)


@pytest.mark.parametrize("cls", [keras.Sequential, lipkit.Sequential])
def test_loss_given_as_a_class(cls, data):
    assert fit(model(losses.HKR, cls=cls), data)[0] == pytest.approx(hkr(data, 10, 1), abs=1e-5)


def test_saved_in_the_middle_of_a_schedule(data, tmp_path):
    def schedule(step=0):
        return LossParamScheduler("alpha", fp=[1, 5], xp=[0, 6], step=step)

    whole = model(losses.HKR(1, 0.3), rate=0.1)
    expected = fit(whole, data, [schedule()], epochs=6)
    part = model(losses.HKR(1, 0.3), rate=0.1)
    first = schedule()
    fit(part, data, [first], epochs=3)
    part.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.loss.alpha == part.loss.alpha == pytest.approx(1 + 4 * 2 / 6)
    values = fit(loaded, data, [LossParamScheduler(**first.get_config())], epochs=3)
    assert values == pytest.approx(expected[3:], abs=1e-5)
    assert "alpha" not in {v.name for v in loaded.variables}


def test_parameters_are_no_weights_of_the_model(data):
    trained = model(losses.HKR(), metrics=[losses.HingeMargin(0.3)])
    fit(trained, data)
    assert len(trained.weights) == 2 and not trained.non_trainable_weights


def test_one_loss_in_two_places_and_as_a_metric(data):
    """JAX must not be handed the same variable twice."""
    loss = losses.HKR(alpha=1, min_margin=0.3)
    trained = model(loss, metrics=[loss, losses.HingeMargin(0.3)])
    fit(trained, data, [LossParamScheduler("alpha", [2, 8], [0, 1])], epochs=2)
    loss.alpha = 4
    values = trained.evaluate(*data, batch_size=BATCH, verbose=0)
    expected = [hkr(data, 4), hkr(data, 4), hkr(data, math.inf)]
    assert values == pytest.approx(expected, abs=1e-5)


def two_outputs(loss):
    inputs = keras.Input((1,))
    outputs = {k: keras.layers.Dense(1, name=k, kernel_initializer="ones")(inputs) for k in "ab"}
    made = lipkit.Model(inputs, outputs if isinstance(loss, dict) else list(outputs.values()))
    made.compile(keras.optimizers.SGD(0.0), loss)
    return made


@pytest.mark.parametrize("container", ["dict", "list"])
def test_several_losses(container, data):
    chosen = {"a": losses.HKR(1, 0.3), "b": losses.HingeMargin(0.3)}
    x, y = data
    y = {"a": y, "b": y}
    if container == "list":
        chosen, y = list(chosen.values()), list(y.values())
    trained = two_outputs(chosen)
    schedules = [LossParamScheduler("alpha", [5], [0]), LossParamScheduler("min_margin", [1], [0])]
    (value,) = fit(trained, (x, y), schedules)
    expected = hkr(data, 5, 1) + hkr(data, math.inf, 1)
    assert value == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="has a parameter `tau`. Losses: HKR, HingeMargin"):
        fit(trained, (x, y), [LossParamScheduler("tau", [1], [0])])


def test_log_prints_loss_parameter_and_value(data, capsys):
    trained = model(losses.HKR(1, 0.3))
    callbacks = [LossParamScheduler("alpha", [1, 4], [0, 3]), LossParamLog("alpha", rate=2)]
    fit(trained, data, callbacks, epochs=5)
    assert capsys.readouterr().out.split() == ["HKR.alpha", "=", "2", "HKR.alpha", "=", "4"]
    assert LossParamLog(**callbacks[1].get_config()).rate == 2


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras has no such option there")
def test_several_steps_per_execution_are_counted(data):
    loss = losses.HKR(1, 0.3)
    schedule = LossParamScheduler("alpha", range(9), range(9))
    eight = [np.concatenate([part] * 8) for part in data]
    fit(model(loss, steps_per_execution=4), eight, [schedule])
    assert schedule.step == 8 and loss.alpha == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LossParamScheduler("alpha", [1, 2], [0]), "`xp` must be increasing.*fp="),
        (lambda: LossParamScheduler("alpha", [1, 2], [3, 0]), "`xp` must be increasing"),
        (lambda: LossParamScheduler("alpha", [], []), "`xp` must be increasing"),
        (lambda: LossParamScheduler("alpha", [1], [0], step=-1), "`step` must be an integer"),
        (lambda: LossParamLog("alpha", rate=0), "`rate` must be an integer >= 1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_values_are_refused_before_training(data):
    loss = losses.HKR(1, 0.3)
    with pytest.raises(ValueError, match=r"`alpha` must be a number in \[0, inf\].*-1"):
        fit(model(loss), data, [LossParamScheduler("alpha", [1, -1], [0, 1000])])
    with pytest.raises(ValueError, match="`min_margin` must be"):
        loss.min_margin = 0
    assert loss.alpha == 1 and loss.min_margin == 0.3
    with pytest.raises(ValueError, match="Losses: 'mse'"):
        fit(model("mse"), data, [LossParamScheduler("alpha", [1], [0])])


def test_running_mean_moves_in_training_only_and_is_saved(rng, tmp_path):
    c = rng.integers(0, 3, BATCH)
    x = 5 * rng.standard_normal((BATCH, 3)).astype("float32")
    size = np.abs(x).mean()
    trained = model(losses.MulticlassSoftHKR(2, 0.3, alpha_mean=0.5), outputs=3)
    loss = trained.loss
    assert loss.mean == pytest.approx(0.3)
    mean = 0.5 * 0.3 + 0.5 * size
    expected = truth.soft_hkr(c, x, 2, 0.3, mean=mean)
    assert fit(trained, (x, c)) == [pytest.approx(expected, abs=1e-4)]
    assert loss.mean == pytest.approx(mean, rel=1e-5)
    for _ in range(2):
        value = trained.evaluate(x, c, batch_size=BATCH, verbose=0)
        assert value == pytest.approx(expected, abs=1e-4)
    assert loss.mean == pytest.approx(mean, rel=1e-5)
    trained.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.loss.mean == loss.mean
    fit(loaded, (x, c), epochs=2)
    assert loaded.loss.mean == pytest.approx(size + (mean - size) / 4, rel=1e-5)


def test_running_mean_is_that_of_the_batch_in_a_plain_model(rng):
    c = rng.integers(0, 3, BATCH)
    x = 5 * rng.standard_normal((BATCH, 3)).astype("float32")
    plain = model(losses.MulticlassSoftHKR(2, 0.3), cls=keras.Sequential, outputs=3)
    expected = truth.soft_hkr(c, x, 2, 0.3)
    assert fit(plain, (x, c)) == [pytest.approx(expected, abs=1e-4)]
    assert plain.evaluate(x, c, batch_size=BATCH, verbose=0) == pytest.approx(expected, abs=1e-4)
    assert plain.loss.mean == pytest.approx(0.3)


DATA_PARALLEL = """
import keras, lipkit, numpy as np
from lipkit.callbacks import LossParamScheduler
if {devices} > 1:
    devices = keras.distribution.list_devices("cpu")
    assert len(devices) == {devices}
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.standard_normal((64, 2)).astype("float32")
y = np.where(np.arange(64) < 13, 1.0, -1.0)[:, None]  # whole shards of one class
model = lipkit.Sequential([keras.Input((2,)), lipkit.layers.SpectralDense(4),
                           lipkit.layers.MaxMin(), lipkit.layers.FrobeniusDense(1)])
model.compile(keras.optimizers.Adam(0.01), lipkit.losses.HKR(1, 0.3, multi_gpu=True))
curve = model.fit(x, y, batch_size=32, shuffle=False, epochs=3, verbose=0,
                  callbacks=[LossParamScheduler("alpha", [1, 5], [0, 5])]).history["loss"]
assert model.loss.alpha == 5
print(*curve)
"""


@pytest.mark.skipif(not JAX, reason="data parallelism of Keras is JAX's")
def test_data_parallel_training_has_the_class_means_of_the_global_batch(python):
    # slow: the number of devices is fixed when a process starts, so there are two
    curves = []
    for devices in (1, 4):
        flags = f"--xla_force_host_platform_device_count={devices}"
        result = python(DATA_PARALLEL.format(devices=devices), KERAS_BACKEND="jax", XLA_FLAGS=flags)
        assert result.returncode == 0, result.stderr
        curves.append([float(value) for value in result.stdout.split()])
    assert len(curves[0]) == 3 and curves[1] == pytest.approx(curves[0], abs=1e-5)
    assert np.ptp(curves[0]) > 1e-2
