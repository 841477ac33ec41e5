//! What peft calls a model's task, and what it saves because of it.

use serde_json::Value;

/// peft's word for what the class of a configuration is for.
pub(super) fn task_type(config: &Value) -> Option<&'static str> {
    let name = config["architectures"][0].as_str()?;
    let known = [
        ("ForSequenceClassification", "SEQ_CLS"),
        ("ForTokenClassification", "TOKEN_CLS"),
        ("ForQuestionAnswering", "QUESTION_ANS"),
        ("ForCausalLM", "CAUSAL_LM"),
        ("LMHeadModel", "CAUSAL_LM"),
        ("ForConditionalGeneration", "SEQ_2_SEQ_LM"),
    ];

    known
        .iter()
        .find(|(suffix, _)| name.ends_with(suffix))
        .map(|(_, task)| *task)
}

/// What peft saves whole for a classifier of sequences or tokens, whatever its configuration says.
pub(super) const SAVED_BY_TASK: [&str; 2] = ["classifier", "score"];
