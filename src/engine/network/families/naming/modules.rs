//! Modules as the library has them in memory, beside the tensors of files: what they are called, how their
//! weights are stored, which of them are the vocabulary's, and what wraps them.

use serde_json::Value;

use super::{
    super::{aliases::model_type_of, suffixes::MASKED_MODEL},
    Names,
};
use crate::tensors::Signature;

/// What wraps a module while it is trained, and puts its own name before all others: `torch.compile`,
/// and `PyTorch`'s data parallel modules.
const WRAPPERS: [&str; 2] = ["_orig_mod.", "module."];
/// Modules of the library in memory, and what they are called in files; `#` stands for a number.
const MODULES: [(&str, &str); 23] = [
    (
        "dinov2.encoder.layer.#.attention.q_proj",
        "dinov2.encoder.layer.#.attention.attention.query",
    ),
    (
        "dinov2.encoder.layer.#.attention.k_proj",
        "dinov2.encoder.layer.#.attention.attention.key",
    ),
    (
        "dinov2.encoder.layer.#.attention.v_proj",
        "dinov2.encoder.layer.#.attention.attention.value",
    ),
    (
        "dinov2.encoder.layer.#.attention.o_proj",
        "dinov2.encoder.layer.#.attention.output.dense",
    ),
    (
        "dinov2_with_registers.encoder.layer.#.attention.q_proj",
        "dinov2_with_registers.encoder.layer.#.attention.attention.query",
    ),
    (
        "dinov2_with_registers.encoder.layer.#.attention.k_proj",
        "dinov2_with_registers.encoder.layer.#.attention.attention.key",
    ),
    (
        "dinov2_with_registers.encoder.layer.#.attention.v_proj",
        "dinov2_with_registers.encoder.layer.#.attention.attention.value",
    ),
    (
        "dinov2_with_registers.encoder.layer.#.attention.o_proj",
        "dinov2_with_registers.encoder.layer.#.attention.output.dense",
    ),
    (
        "vit.layers.#.attention.q_proj",
        "vit.encoder.layer.#.attention.attention.query",
    ),
    (
        "vit.layers.#.attention.k_proj",
        "vit.encoder.layer.#.attention.attention.key",
    ),
    (
        "vit.layers.#.attention.v_proj",
        "vit.encoder.layer.#.attention.attention.value",
    ),
    (
        "vit.layers.#.attention.o_proj",
        "vit.encoder.layer.#.attention.output.dense",
    ),
    (
        "vit.layers.#.mlp.fc1",
        "vit.encoder.layer.#.intermediate.dense",
    ),
    ("vit.layers.#.mlp.fc2", "vit.encoder.layer.#.output.dense"),
    (
        "vit.layers.#.layernorm_before",
        "vit.encoder.layer.#.layernorm_before",
    ),
    (
        "vit.layers.#.layernorm_after",
        "vit.encoder.layer.#.layernorm_after",
    ),
    (
        "swin.encoder.layers.#.blocks.#.attention.q_proj",
        "swin.encoder.layers.#.blocks.#.attention.self.query",
    ),
    (
        "swin.encoder.layers.#.blocks.#.attention.k_proj",
        "swin.encoder.layers.#.blocks.#.attention.self.key",
    ),
    (
        "swin.encoder.layers.#.blocks.#.attention.v_proj",
        "swin.encoder.layers.#.blocks.#.attention.self.value",
    ),
    (
        "swin.encoder.layers.#.blocks.#.attention.relative_position_bias.relative_position_bias_table",
        "swin.encoder.layers.#.blocks.#.attention.self.relative_position_bias_table",
    ),
    (
        "swin.encoder.layers.#.blocks.#.attention.o_proj",
        "swin.encoder.layers.#.blocks.#.attention.output.dense",
    ),
    (
        "swin.encoder.layers.#.blocks.#.mlp.fc1",
        "swin.encoder.layers.#.blocks.#.intermediate.dense",
    ),
    (
        "swin.encoder.layers.#.blocks.#.mlp.fc2",
        "swin.encoder.layers.#.blocks.#.output.dense",
    ),
];
/// By `model_type`, the prefix of the linear layers that are stored `[in, out]`.
const TRANSPOSED: [(&str, &str); 1] = [("gpt2", "transformer.h.")];
/// By `model_type`, the embedding of tokens.
const VOCABULARIES: [(&str, &str); 33] = [
    ("albert", "albert.embeddings.word_embeddings.weight"),
    ("bert", "bert.embeddings.word_embeddings.weight"),
    ("roberta", "roberta.embeddings.word_embeddings.weight"),
    ("deberta-v2", "deberta.embeddings.word_embeddings.weight"),
    ("distilbert", "distilbert.embeddings.word_embeddings.weight"),
    ("electra", "electra.embeddings.word_embeddings.weight"),
    ("mpnet", "mpnet.embeddings.word_embeddings.weight"),
    ("gpt2", "transformer.wte.weight"),
    ("llama", "model.embed_tokens.weight"),
    ("mistral", "model.embed_tokens.weight"),
    ("mixtral", "model.embed_tokens.weight"),
    ("seed_oss", "model.embed_tokens.weight"),
    ("qwen2", "model.embed_tokens.weight"),
    ("qwen3", "model.embed_tokens.weight"),
    ("qwen3_moe", "model.embed_tokens.weight"),
    ("gpt_oss", "model.embed_tokens.weight"),
    ("olmoe", "model.embed_tokens.weight"),
    ("smollm3", "model.embed_tokens.weight"),
    ("olmo2", "model.embed_tokens.weight"),
    ("olmo3", "model.embed_tokens.weight"),
    ("gemma", "model.embed_tokens.weight"),
    ("gemma2", "model.embed_tokens.weight"),
    ("gemma3_text", "model.embed_tokens.weight"),
    ("phi3", "model.embed_tokens.weight"),
    ("granite", "model.embed_tokens.weight"),
    ("glm4", "model.embed_tokens.weight"),
    ("gpt_neox", "gpt_neox.embed_in.weight"),
    ("modernbert", "model.embeddings.tok_embeddings.weight"),
    ("t5", "transformer.shared.weight"),
    ("bart", "model.shared.weight"),
    ("marian", "model.shared.weight"),
    ("pegasus", "model.shared.weight"),
    ("whisper", "model.decoder.embed_tokens.weight"),
];
/// By `model_type`, a tensor of the graph, and those that are copies of it where a file has them.
const COPIES: [(&str, &str, &[&str]); 4] = [
    (
        "t5",
        "transformer.shared.weight",
        &[
            "transformer.encoder.embed_tokens.weight",
            "transformer.decoder.embed_tokens.weight",
        ],
    ),
    ("bart", "model.shared.weight", BART_COPIES),
    ("marian", "model.shared.weight", BART_COPIES),
    ("pegasus", "model.shared.weight", BART_COPIES),
];
const BART_COPIES: &[&str] = &[
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
];
/// By `model_type`, a tensor `[1, n]` of files, and the vector that it is in the graph.
const FLAT: [(&str, &str, &str); 3] = [
    ("bart", "final_logits_bias", "final_logits_bias.bias"),
    ("marian", "final_logits_bias", "final_logits_bias.bias"),
    ("pegasus", "final_logits_bias", "final_logits_bias.bias"),
];
/// By `model_type`, what files call the output layer that is `lm_head` in the graph, as in memory.
const OUTPUTS: [(&str, &str); 2] = [("gpt_neox", "embed_out"), ("whisper", "proj_out")];

/// Whether the modules of a configuration's class lack the body's prefix in memory though it has a head: T5 from
/// sequence to sequence.
pub fn is_bare_below_its_head(config: &Value) -> bool {
    let class = config["architectures"][0].as_str().unwrap_or_default();
    model_type_of(config) == Some("t5") && class.ends_with("ForConditionalGeneration")
}

/// By `model_type`, the output layer of a masked language model, and the bias that it has where its matrix is the
/// embedding.
const DECODERS: [(&str, &str, &str); 8] = [
    ("albert", "predictions.decoder", "predictions.bias"),
    ("bert", "cls.predictions.decoder", "cls.predictions.bias"),
    (
        "deberta-v2",
        "cls.predictions.decoder",
        "cls.predictions.bias",
    ),
    ("distilbert", "vocab_projector", "vocab_projector.bias"),
    ("electra", "generator_lm_head", "generator_lm_head.bias"),
    ("modernbert", "decoder", "decoder.bias"),
    ("mpnet", "lm_head.decoder", "lm_head.bias"),
    ("roberta", "lm_head.decoder", "lm_head.bias"),
];

/// The output layer of a masked language model.
pub struct Decoder {
    pub module: &'static str,
    /// What is added where the matrix is the embedding.
    pub bias: &'static str,
    /// The embedding's tensor.
    table: &'static str,
    /// The matrix is the embedding.
    pub is_tied: bool,
}

impl Decoder {
    /// That of a configuration; `None` of any other class.
    pub fn of(config: &Value) -> Option<Self> {
        let class = config["architectures"][0].as_str()?;
        let own = model_type_of(config).filter(|_| class.ends_with(MASKED_MODEL))?;
        let (_, module, bias) = DECODERS.iter().find(|(family, ..)| own == *family)?;
        Some(Self {
            module,
            bias,
            table: vocabulary_of(config)?,
            is_tied: config["tie_word_embeddings"] != false,
        })
    }

    /// The embedding's module.
    pub fn embedding(&self) -> &'static str {
        self.table.trim_end_matches(".weight")
    }

    /// What the bias is called that the library reads where the matrix is no embedding.
    pub fn own_bias(&self) -> String {
        format!("{}.bias", self.module)
    }

    /// What a tensor of a file is a copy of, where the file has that too.
    pub fn original(&self, name: &str, file: &Signature) -> Option<String> {
        let part = name.strip_prefix(self.module).filter(|_| self.is_tied)?;
        let original = match part {
            ".weight" => self.table,
            ".bias" if name != self.bias => self.bias,
            _ => return None,
        };
        file.contains_key(original).then(|| original.to_owned())
    }

    /// Whether the library has this tensor and does not read it: a bias beside the one of the matrix.
    pub fn leaves(&self, name: &str, file: &Signature) -> bool {
        let own = self.own_bias();
        !self.is_tied && name == self.bias && name != own && file.contains_key(&own)
    }
}

/// What a family's files call its output layer, where that is not `lm_head`.
pub(super) fn output_of(config: &Value) -> Option<&'static str> {
    let own = model_type_of(config)?;
    OUTPUTS
        .iter()
        .find(|(family, _)| own == *family)
        .map(|(_, module)| *module)
}

/// What a tensor of the family's files, of this shape, is as a vector in the graph.
pub(super) fn flat_of(config: &Value, name: &str, shape: &[usize]) -> Option<&'static str> {
    let own = model_type_of(config)?;
    let [1, _] = *shape else { return None };
    FLAT.iter()
        .find(|(family, file, _)| own == *family && name == *file)
        .map(|(.., inside)| *inside)
}

/// What a tensor of the family's files is a copy of, whatever their configuration says.
pub(super) fn original_of(config: &Value, name: &str) -> Option<&'static str> {
    let own = model_type_of(config)?;
    COPIES
        .iter()
        .find(|(family, _, copies)| own == *family && copies.contains(&name))
        .map(|(_, original, _)| *original)
}

/// Whether a linear layer's weight is `[in, out]`.
pub fn is_transposed(config: &Value, module: &str) -> bool {
    let of_graph = config["nodes"].as_array().into_iter().flatten();
    TRANSPOSED.iter().any(|(family, prefix)| {
        model_type_of(config) == Some(*family) && module.starts_with(prefix)
    }) || of_graph
        .into_iter()
        .any(|node| node["param"] == module && node["transposed"] == true)
}

/// The embedding of tokens in a configuration's family.
pub fn vocabulary_of(config: &Value) -> Option<&'static str> {
    let own = model_type_of(config)?;
    let found = VOCABULARIES.iter().find(|(family, _)| own == *family);
    found.map(|(_, tensor)| *tensor)
}

/// The embedding that is the output matrix too.
pub fn tied_embedding(config: &Value) -> Option<String> {
    let embedding = Names::of(config)?.tied_to(config)?;
    Some(format!("{embedding}.weight"))
}

/// What the tensor `name` of a module is called in the graph, where `has` tells what a model has. A body
/// that was wrapped alone lacks the prefix that it has in files; a module may be another's copy.
pub fn tensor_of_module(config: &Value, name: &str, has: impl Fn(&str) -> bool) -> String {
    let names = names_in_files(config, name);
    let own = names.iter().find(|name| has(name)).cloned();
    let mut originals = names.iter().filter_map(|name| original_of(config, name));

    own.or_else(|| originals.find(|name| has(name)).map(str::to_owned))
        .unwrap_or_else(|| names[0].clone())
}

/// Whether the tensor `name` of a module is a copy of one of the graph: modules of both sides that look words up in
/// one table.
pub fn is_copy_of(config: &Value, name: &str, tensor: &str) -> bool {
    let names = names_in_files(config, name);
    names
        .iter()
        .any(|name| original_of(config, name) == Some(tensor))
}

/// The modules of a model that look words up in the table that is the tensor `name` of the graph, beside the one that
/// it is called by: one for each side that has layers among `tensors`.
pub fn copies_of(config: &Value, name: &str, tensors: &Signature) -> Vec<&'static str> {
    let own = model_type_of(config).unwrap_or_default();
    let found = COPIES
        .iter()
        .find(|(family, original, _)| own == *family && name == *original);
    let copies = found.map_or(&[][..], |(.., copies)| copies).iter();
    let modules = copies.filter_map(|copy| copy.strip_suffix(".weight"));

    let of_its_sides = modules.filter(|module| {
        let side = module.trim_end_matches("embed_tokens");
        tensors.keys().any(|name| name.starts_with(side))
    });
    of_its_sides.collect()
}

/// What the tensor `name` of a module may be called in files: as it is, or below the body's prefix.
fn names_in_files(config: &Value, name: &str) -> Vec<String> {
    let output = output_of(config).and_then(|output| name.strip_prefix(output));
    let output = output
        .filter(|rest| rest.starts_with('.'))
        .map(|rest| format!("lm_head{rest}"));
    let whole = output.unwrap_or_else(|| file_of_module(name));
    let prefixed = Names::of(config).map(|names| format!("{}.{name}", names.body));

    [whole]
        .into_iter()
        .chain(prefixed.map(|name| file_of_module(&name)))
        .collect()
}

/// The name in files of a module, or of one of its tensors.
pub(super) fn file_of_module(name: &str) -> String {
    renamed(name, |(module, file)| (module, file))
}

/// The name in memory of a module or tensor of the graph.
pub fn module_of_tensor(name: &str) -> String {
    renamed(name, |(module, file)| (file, module))
}

/// What the names of modules in memory lack where a body stands alone (`BertModel`): `bert.`.
pub fn body_prefix(config: &Value) -> Option<String> {
    Names::of(config).map(|names| format!("{}.", names.body))
}

/// A name by the first pair of [`MODULES`] that fits its beginning, read in a direction.
fn renamed(
    name: &str,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> String {
    for pair in MODULES {
        let (from, to) = direction(pair);
        if let Some(found) = substituted(name, from, to) {
            return found;
        }
    }
    name.to_owned()
}

fn substituted(name: &str, from: &str, to: &str) -> Option<String> {
    let mut parts = name.split('.');
    let mut to = to.to_owned();
    for part in from.split('.') {
        let found = parts.next()?;
        if part == "#" && !found.is_empty() && found.bytes().all(|b| b.is_ascii_digit()) {
            to = to.replacen('#', found, 1);
        } else if part != found {
            return None;
        }
    }

    Some(parts.fold(to, |name, part| format!("{name}.{part}")))
}

/// What all names begin with because the module was saved inside its wrapper: `_orig_mod.`, `module.`, or
/// one in the other. A graph whose own parameters begin so is not wrapped.
pub fn wrapper_of(config: &Value, names: &[&str]) -> String {
    let nodes = config["nodes"].as_array().into_iter().flatten();
    let own = nodes.filter_map(|node| node["param"].as_str());
    let mut found = String::new();

    loop {
        let next = WRAPPERS
            .iter()
            .map(|wrapper| format!("{found}{wrapper}"))
            .find(|prefix| {
                !names.is_empty() && names.iter().all(|name| name.starts_with(prefix.as_str()))
            });
        match next {
            Some(prefix) if !own.clone().any(|param| param.starts_with(&prefix)) => found = prefix,
            _ => return found,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        network::entries,
        tensors::{DType, TensorInfo},
    };

    #[test]
    fn a_module_and_its_tensor_in_files_lead_to_each_other() {
        let config = json!({"model_type": "vit"});
        let (module, file) = (
            "vit.layers.3.attention.q_proj",
            "vit.encoder.layer.3.attention.attention.query",
        );
        assert_eq!(tensor_of_module(&config, module, |name| name == file), file);
        assert_eq!(
            tensor_of_module(&config, &module[4..], |name| name == file),
            file
        );
        assert_eq!(
            module_of_tensor(&format!("{file}.bias")),
            format!("{module}.bias")
        );
        assert_eq!(module_of_tensor("vit.layernorm"), "vit.layernorm");

        assert_eq!(
            file_of_module(&format!("{module}.bias")),
            format!("{file}.bias")
        );
        // A number for each place, in their order.
        let file = "swin.encoder.layers.2.blocks.11.attention.self.value.weight";
        let module = "swin.encoder.layers.2.blocks.11.attention.v_proj.weight";
        assert_eq!(file_of_module(module), file);
        assert_eq!(module_of_tensor(file), module);
    }

    /// One table, which three modules of the library have.
    #[test]
    fn copies_lead_to_their_original() {
        let config = json!({"model_type": "mt5"});
        let table = "transformer.shared.weight";
        let has = |name: &str| name == table;
        for name in [
            "shared.weight",
            "decoder.embed_tokens.weight",
            "transformer.encoder.embed_tokens.weight",
        ] {
            assert_eq!(tensor_of_module(&config, name, has), table);
            assert_eq!(is_copy_of(&config, name, table), name != "shared.weight");
        }
        let info = TensorInfo {
            dtype: DType::F32,
            shape: vec![3, 3],
        };
        let layer = "transformer.decoder.block.0.layer.0.SelfAttention.q.weight";
        let tensors = Signature::from([(layer.to_owned(), info)]);
        let decoder = "transformer.decoder.embed_tokens";
        assert_eq!(copies_of(&config, table, &tensors), [decoder]);

        assert_eq!(copies_of(&config, table, &Signature::new()), [""; 0]);
    }

    /// Its rows are tokens, which an adapter may have more of.
    #[test]
    fn every_family_of_tokens_has_its_vocabulary() {
        for entry in entries() {
            let of_pictures =
                entry.library == "timm" || entry.classes.contains(&"ForImageClassification");
            for name in entry.names {
                let is_known = vocabulary_of(&json!({"model_type": name})).is_some();
                let wanted = !(of_pictures || name.ends_with("_vision_model"));
                assert_eq!(is_known, wanted, "{name}");
            }
        }
    }
}
