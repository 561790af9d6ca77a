"""Models as people have them: heads, selections, weights that are read, shared or packed, names."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from flexlora import FlexLoRAConfig, RankAllocator, attach
from flexlora.adapter_files import load_adapter
from flexlora.errors import FlexLoRAError, FlexLoRAWarning
from flexlora.integrations import FlexLoRACallback
from flexlora.peft import FlexLoRAConfig as PeftConfig
from flexlora.targets import find_targets

IDS = torch.arange(16).reshape(2, 8) + 3
BERT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 64,
}  # fmt: skip
BART = {
    "vocab_size": 64, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 32,
}  # fmt: skip
T5 = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}


def config(rank=2, **more):
    return FlexLoRAConfig(initial_rank=rank, total_steps=20, **more)


def bert(**more):
    torch.manual_seed(0)
    return tf.BertForSequenceClassification(tf.BertConfig(**BERT, **more)).eval()


def live(adapter, seed=0):
    """Give every direction a λ, so that the adapter does something."""
    generator = torch.Generator().manual_seed(seed)
    for matrix in adapter.matrices.values():
        with torch.no_grad():
            matrix.lam[matrix.slots] = torch.randn(matrix.rank, generator=generator) / 3
    return adapter


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.att, self.lin = nn.MultiheadAttention(16, 4, batch_first=True), nn.Linear(16, 16)

    def forward(self, x):
        return self.lin(self.att(x, x, x)[0])


class Multiplies(nn.Module):
    """Reads weights in many ways, and calls only one of its layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        assert self.a.weight.dtype == torch.float32 and self.a.weight.size(0) == 16
        x = self.a(x) @ self.b.weight.t()
        x = torch.nn.functional.linear(
            x, torch.cat([self.c.weight, self.b.weight]), torch.cat([self.c.bias, self.b.bias])
        )
        return (self.d.weight @ x[:, :16].T).T + x[:, 16:] * self.d.weight.abs().mean()


def readers():
    torch.manual_seed(0)
    t5 = tf.T5ForConditionalGeneration(tf.T5Config(**T5, decoder_start_token_id=0, pad_token_id=0))
    mamba = tf.MambaForCausalLM(tf.MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=8))
    return {
        "t5": (t5, {"input_ids": IDS, "labels": IDS}),
        "mamba": (mamba, {"input_ids": IDS}),
        "attention": (Attention(), {"x": torch.randn(2, 5, 16)}),
        "multiplies": (Multiplies(), {"x": torch.randn(5, 16)}),
    }


def output(model, batch):
    found = model(**batch)
    return found if isinstance(found, torch.Tensor) else found.logits


@pytest.mark.parametrize("name", ["t5", "mamba", "attention", "multiplies"])
@pytest.mark.filterwarnings("ignore::flexlora.errors.FlexLoRAWarning")
def test_a_model_that_reads_weights_computes_with_the_update_and_trains_it(name):
    model, batch = readers()[name]
    model.eval()
    with torch.no_grad():
        before = output(model, batch)
    adapter = attach(model, config())
    with torch.no_grad():
        # A weight that is multiplied by directly goes another way through the processor than a layer that is called.
        torch.testing.assert_close(output(model, batch), before)
    live(adapter)
    found = output(model, batch)
    assert (found - before).abs().max() > 1e-4
    found.square().mean().backward()
    assert all(bool(matrix.lam.grad.abs().sum() > 0) for matrix in adapter.matrices.values())
    with torch.no_grad():
        merged = output(adapter.merge(), batch)
    torch.testing.assert_close(merged, found, rtol=1e-4, atol=1e-5)


def test_asking_for_a_weights_type_makes_no_matrix_and_writing_is_refused():
    model = nn.Sequential(nn.Linear(8, 4))
    adapter = attach(model, config())
    weight = model[0].weight
    assert (weight.shape, weight.dtype, weight.device.type, weight.dim()) == ((4, 8), torch.float32, "cpu", 2)
    assert weight.numel() == 32 and not isinstance(weight, torch.Tensor)
    with pytest.raises(AttributeError):
        weight.mul_(2)
    live(adapter)
    expected = adapter.matrices["0"].base.weight + adapter.matrices["0"].delta_weight(torch.float32)
    torch.testing.assert_close(weight.data, expected.detach())
    torch.testing.assert_close(weight.float().sum(), expected.sum())


@pytest.mark.parametrize("kind", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_a_parametrised_weight_is_adapted_and_merged(kind):
    torch.manual_seed(0)
    model = nn.Sequential(kind(nn.Linear(16, 16)), nn.Linear(16, 16)).eval()
    x = torch.randn(4, 16)
    adapter = live(attach(model, config()))
    before = model(x)
    torch.testing.assert_close(adapter.merge()(x), before)


def heads():
    t5 = tf.T5Config(**T5)
    return {
        "bart": (tf.BartForSequenceClassification(tf.BartConfig(**BART)), "classification_head"),
        "t5": (tf.T5ForSequenceClassification(t5), "classification_head"),
        "nsp": (tf.BertForNextSentencePrediction(tf.BertConfig(**BERT)), "cls"),
        "choice": (tf.BertForMultipleChoice(tf.BertConfig(**BERT)), "classifier"),
        "electra": (tf.ElectraForPreTraining(tf.ElectraConfig(**BERT, embedding_size=32)), "discriminator_predictions"),
        "nested": (nn.ModuleDict({"inner": bert()}), "inner.classifier"),
        "llama": (
            tf.LlamaForCausalLM(tf.LlamaConfig(**BERT, num_key_value_heads=2)),
            None,
        ),
        "mlm": (tf.BertForMaskedLM(tf.BertConfig(**BERT)), None),
    }


@pytest.mark.parametrize("name", list(heads()))
def test_a_head_is_what_stands_beside_the_pretrained_body(name):
    model, head = heads()[name]
    adapter = attach(model, config())
    assert {own for own in adapter.head if not head or not own.startswith(f"{head}.")} == set()
    assert bool(adapter.head) == bool(head)
    assert not [own for own in adapter.matrices if head and own.startswith(f"{head}.")]
    assert adapter.matrices


def test_what_a_checkpoint_did_not_bring_is_trained(tmp_path):
    body = tf.BertModel(tf.BertConfig(**BERT), add_pooling_layer=False)
    body.save_pretrained(tmp_path)
    loaded = tf.BertForSequenceClassification.from_pretrained(tmp_path)
    adapter = attach(loaded, config())
    new = {"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"}
    assert set(adapter.head) == new
    assert not [name for name in adapter.matrices if "pooler" in name]
    loaded = tf.BertForSequenceClassification.from_pretrained(tmp_path)
    loaded.resize_token_embeddings(70)
    assert set(attach(loaded, config()).head) == new


def test_modules_to_save_and_what_is_unfrozen_by_hand_reach_every_file(tmp_path):
    base = bert()
    model = copy.deepcopy(base)
    adapter = live(attach(model, config(modules_to_save=("LayerNorm",), exclude_modules=("pooler.dense",))))
    assert sum("LayerNorm" in name for name in adapter.head) == 2 * (1 + 2 * 2)
    model.bert.pooler.requires_grad_(True)
    with torch.no_grad():
        for parameter in adapter.head_parameters():
            parameter += 0.1
    assert {id(p) for p in model.bert.pooler.parameters()} <= {id(p) for p in adapter.trainable_parameters()}
    expected = model(input_ids=IDS).logits
    adapter.save(tmp_path / "own")
    again = load_adapter(copy.deepcopy(base), tmp_path / "own")
    assert torch.equal(again.model(input_ids=IDS).logits, expected)
    adapter.export_peft(tmp_path / "peft")
    plain = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "peft")
    torch.testing.assert_close(plain(input_ids=IDS).logits, expected)
    model.bert.encoder.layer[0].requires_grad_(True)
    with pytest.raises(
        FlexLoRAError, match=r"layer\.0\.attention\.self\.query is adapted, and its own weight is trained"
    ):
        adapter.export_peft(tmp_path / "no")
    with pytest.raises(FlexLoRAError, match="modules_to_save 'nowhere' is no module"):
        attach(bert(), config(modules_to_save=("nowhere",)))


class TwoNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(16, 16)
        self.b = self.a

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class TiedWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class TiedOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb, self.out = nn.Embedding(20, 16), nn.Linear(16, 20, bias=False)
        self.out.weight = self.emb.weight

    def forward(self, x):
        return self.out(self.emb(x.abs().long().sum(-1) % 20))


@pytest.mark.parametrize("kind", [TwoNames, TiedWeight, TiedOutput])
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_merging_changes_no_other_layer_and_a_second_time_nothing(kind, dtype):
    torch.manual_seed(0)
    adapter = live(attach(kind(), config(4)))
    x = 3 * torch.randn(8, 6, 16)
    before = adapter.model(x)
    merged = adapter.merge(dtype=dtype)
    if dtype is None:
        torch.testing.assert_close(merged(x), before, rtol=1e-4, atol=1e-5)
    once = {name: value.clone() for name, value in merged.state_dict().items()}
    again = adapter.merge()
    assert all(torch.equal(value, once[name]) for name, value in again.state_dict().items())
    if dtype is not None:
        assert all(merged.get_submodule(name).weight.dtype == dtype for name in adapter.matrices)


def test_a_layer_in_two_places_is_adapted_in_both_and_peft_is_told_no(tmp_path):
    adapter = live(attach(TwoNames(), config()))
    assert list(adapter.matrices) == ["a"] and adapter.model.b is adapter.model.a
    with pytest.raises(FlexLoRAError, match="a stands in 2 places"):
        adapter.export_peft(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_targets_are_chosen_as_peft_chooses_them():
    model = bert()

    def names(targets, **more):
        return list(find_targets(model, targets, **more))

    every = names(None)
    assert names(("all-linear",)) == every and len(every) == 13
    queries = [f"bert.encoder.layer.{layer}.attention.self.query" for layer in (0, 1)]
    assert names(("query",)) == queries
    assert names((r".*layer\.1\..*(query|value)",)) == [queries[1], queries[1].replace("query", "value")]
    assert names(None, exclude_modules=("pooler.dense", "output.dense", "dense")) == [
        name for name in every if not name.endswith("dense")
    ]
    assert names(("query",), layers_to_transform=(1,)) == queries[1:]
    for bad, told in (
        ({"target_modules": ("quarry",)}, "target_modules 'quarry' matches no linear layer"),
        ({"target_modules": ("(",)}, "neither a name nor a regular expression"),
        ({"target_modules": None, "modules_to_save": ("(",)}, "modules_to_save '\\(' is neither a name nor a regular"),
        ({"target_modules": None, "exclude_modules": ("quarry",)}, "exclude_modules 'quarry' matches no linear"),
        (
            {"target_modules": None, "layers_to_transform": (7,)},
            r"has no layer 7 among its targets; its layers: 0 to 1",
        ),
        ({"target_modules": ("query",), "exclude_modules": ("query",)}, "no Linear or Conv1D layer"),
    ):
        with pytest.raises(FlexLoRAError, match=told):
            find_targets(model, **bad)


class Endings(nn.Module):
    """One name is the ending of another."""

    def __init__(self):
        super().__init__()
        self.block = nn.ModuleDict({"proj": nn.Linear(16, 16), "left": nn.Linear(16, 16)})
        self.deep = nn.ModuleDict({"block": nn.ModuleDict({"proj": nn.Linear(16, 16), "left": nn.Linear(16, 16)})})

    def forward(self, x):
        for block in (self.block, self.deep["block"]):
            x = block["left"](torch.tanh(block["proj"](x)))
        return x


@pytest.mark.parametrize("targets", [None, ("block.proj",), ("deep.block.proj",)])
def test_names_that_end_alike_are_exported_apart(tmp_path, targets):
    torch.manual_seed(0)
    base = Endings()
    model = torch.compile(copy.deepcopy(base), backend="eager") if targets is None else copy.deepcopy(base)
    adapter = live(attach(model, config(4, target_modules=targets)))
    assert not [name for name in adapter.matrices if "_orig_mod" in name]
    matrix = adapter.matrices["deep.block.proj"]
    matrix.empty(matrix.slots[0])
    x = torch.randn(4, 16)
    expected = model(x)
    adapter.export_peft(tmp_path)
    torch.testing.assert_close(PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)(x), expected)


def test_experts_in_one_tensor_are_told():
    moe = tf.MixtralForCausalLM(tf.MixtralConfig(**BERT, num_key_value_heads=2, num_local_experts=4))
    with pytest.warns(FlexLoRAWarning, match=r"8\d% of the weights of Mixtral.* in no linear layer.*experts"):
        attach(moe, config())


def test_an_adapter_that_has_diverged_is_not_exported(tmp_path):
    adapter = live(attach(nn.Sequential(nn.Linear(16, 16)), config()))
    adapter.matrices["0"].Q.data[0, 0] = float("nan")
    with pytest.raises(FlexLoRAError, match="not finite"):
        adapter.export_peft(tmp_path / "out")
    assert not (tmp_path / "out").exists()


class PackedLinear(nn.Module):
    """As quantisation libraries have them: whole numbers and a scale a row."""

    def __init__(self, base):
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        scales = base.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("scales", scales)
        self.register_buffer("qweight", (base.weight.detach() / scales).round().to(torch.int8))
        self.bias = nn.Parameter(base.bias.detach().clone(), requires_grad=False)

    def forward(self, x):
        return nn.functional.linear(x, self.qweight.to(x.dtype) * self.scales, self.bias)


def packed():
    torch.manual_seed(0)
    return nn.Sequential(PackedLinear(nn.Linear(32, 32)), nn.Tanh(), PackedLinear(nn.Linear(32, 32)))


def bitsandbytes(bits):
    library = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    for place in (0, 2):
        how = {"compute_dtype": torch.float32, "quant_type": "nf4"} if bits == 4 else {"has_fp16_weights": False}
        layer = (library.nn.Linear4bit if bits == 4 else library.nn.Linear8bitLt)(64, 64, **how)
        layer.load_state_dict(model[place].state_dict())
        model[place] = layer
    return model.to("cpu")


def torchao():
    quantization = pytest.importorskip("torchao.quantization")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    return model


def hqq():
    library = pytest.importorskip("hqq.core.quantize")
    library.HQQLinear.set_backend(library.HQQBackend.PYTORCH)
    how = {"compute_dtype": torch.float32, "device": "cpu"}
    torch.manual_seed(0)
    layers = [
        library.HQQLinear(nn.Linear(64, 64), library.BaseQuantizeConfig(nbits=4, group_size=64), **how)
        for _ in range(2)
    ]
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])


def quanto():
    library = pytest.importorskip("optimum.quanto")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    library.quantize(model, weights=library.qint8)
    library.freeze(model)
    return model


def stored_bytes(model):
    held = (*model.parameters(), *model.buffers())
    return [tensor.untyped_storage().tolist() for tensor in held if not is_traceable_wrapper_subclass(tensor)]


@pytest.mark.parametrize("make", [packed, lambda: bitsandbytes(4), lambda: bitsandbytes(8), torchao, hqq, quanto])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_packed_weights_are_adapted_exported_and_merged_on_request(make, tmp_path):
    model = make()
    width = model[0].in_features
    x = torch.randn(8, width)
    settings = config(4, warmup_steps=1, final_steps=1, interval=2, initial_budget=1, schedule="constant")
    packed_bytes = stored_bytes(model)
    adapter = attach(model.eval(), settings)
    assert stored_bytes(nn.Sequential(*(getattr(layer, "base", layer) for layer in model))) == packed_bytes
    model.train()
    before = make()(x).detach()
    assert torch.equal(model(x), before)
    optimizer = torch.optim.AdamW(adapter.trainable_parameters(), lr=1e-2)
    allocator = RankAllocator(adapter, optimizer, settings)
    losses = []
    for t in range(1, 21):
        loss = (model(x) - 1).square().mean()
        loss.backward()
        adapter.add_regularization_gradient()
        optimizer.step()
        allocator.step(t)
        optimizer.zero_grad()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    trained = model(x).detach()
    adapter.save(tmp_path / "own")
    assert torch.equal(load_adapter(make(), tmp_path / "own").model(x), trained)
    assert load_file(adapter.export_peft(tmp_path / "peft") / "adapter_model.safetensors")
    with pytest.raises(FlexLoRAError, match=r"is packed.*dequantize=True"):
        adapter.merge()
    merged = adapter.merge(dequantize=True)
    assert type(merged[0]) is nn.Linear
    torch.testing.assert_close(merged(x), trained, rtol=1e-3, atol=1e-3)


def test_a_model_with_adapters_of_peft_is_refused():
    model = get_peft_model(bert(), LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS"))
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with pytest.raises(FlexLoRAError, match=r"holds adapters of PEFT already .*merge_and_unload"):
        attach(model, config())
    assert before == {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert attach(model.merge_and_unload(), config()).matrices


class Router(nn.Linear):
    """Looks linear and gives two things."""

    def forward(self, x):
        scores = super().forward(x)
        return scores.softmax(-1), scores


def test_a_layer_that_looks_linear_and_gives_something_else_is_left_out_or_refused_by_name():
    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.lin = Router(16, 4), nn.Linear(16, 16)

        def forward(self, x):
            return self.lin(x) * self.router(x)[0].sum(-1, keepdim=True)

    model = Routed()
    x = torch.randn(3, 16)
    wanted = model(x)
    with pytest.raises(FlexLoRAError, match=r"target_modules: router \(Router\) looks linear"):
        attach(model, config(target_modules=["router", "lin"]))
    assert list(attach(model, config()).matrices) == ["lin"]
    assert torch.allclose(model(x), wanted) and model.router.training


def copied(model):
    return copy.deepcopy(model)


def pickled(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("again", [copied, pickled])
@pytest.mark.parametrize("method", [None, "flexlora", "salora", "dora_dynamic", "big_then_cut"])
def test_an_adapted_model_is_copied_and_pickled_as_it_computes(method, again):
    """Also while it trains: with a callback (None), or bound to an optimizer through PEFT."""
    if method is None:
        model = bert()
        live(FlexLoRACallback(model, config()).adapter)
    else:
        model = get_peft_model(bert(), PeftConfig(r=2, total_steps=20, task_type="SEQ_CLS", method=method))
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        model.base_model.bind(optimizer)
        model.train()(input_ids=IDS, labels=torch.tensor([0, 1])).loss.backward()
        optimizer.step()
    other = again(model.eval()).eval()
    assert torch.equal(other(input_ids=IDS).logits, model(input_ids=IDS).logits)
    other.load_state_dict(model.state_dict())


WEIGHT_USES = {
    "neg": lambda w: -w, "half": lambda w: w / 2, "square": lambda w: w**2, "less": lambda w: w - 1,
    "from": lambda w: 1 - w,
    "over": lambda w: 1 / (w + 9), "abs": abs, "above": lambda w: w > 0, "same": lambda w: w == w.value(),
    "other": lambda w: w != 0, "rows": lambda w: torch.stack(list(w)), "left": lambda w: torch.ones(2, 16) @ w,
    "right": lambda w: w @ torch.ones(16, 2), "row": lambda w: w[1], "whole": lambda w: w // 0.1,
    "twice": lambda w: 2 * w,
    "two": lambda w: w * w, "unit": lambda w: w / w.norm(),
}  # fmt: skip


@pytest.mark.parametrize("use", WEIGHT_USES)
def test_a_weight_computes_as_its_values(use):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16))
    live(attach(model, config()))
    weight = model[0].weight
    values = weight.value()
    values.value = lambda: values
    assert torch.equal(WEIGHT_USES[use](weight), WEIGHT_USES[use](values))
    assert len(weight) == 16 and weight is not None and bool(weight != None)  # noqa: E711


def test_who_writes_into_a_weight_is_told_the_layer():
    model = nn.Sequential(nn.Linear(16, 16))
    attach(model, config())
    assert not hasattr(model[0].weight, "div_")
    with pytest.raises(FlexLoRAError, match=r"writes into the weight of 0 \(div_\).*exclude_modules"):
        model[0].weight.div_(2)


def test_values_are_put_in_by_functional_call():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    live(attach(model, config()))
    x = torch.randn(3, 16)
    before = model(x)
    twice = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twice.parameters():
            parameter.mul_(2)
    values = {name: (2 * parameter).detach().requires_grad_() for name, parameter in model.named_parameters()}
    found = torch.func.functional_call(model, values, x)
    assert torch.allclose(found, twice(x), atol=1e-6)
    found.sum().backward()
    assert values["0.lam"].grad.abs().sum() > 0 and model[0].lam.grad is None
    assert torch.equal(model(x), before)
