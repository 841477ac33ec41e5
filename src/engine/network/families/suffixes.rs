//! How the classes of Hugging Face's library end, by what their head tells.

/// A class, several labels or values of the whole sample.
pub(super) const CLASSIFIER: &str = "ForSequenceClassification";
/// A class for every token, such as names of people.
pub(super) const TOKEN_CLASSIFIER: &str = "ForTokenClassification";
/// Where an answer begins and ends.
pub(super) const SPANS: &str = "ForQuestionAnswering";
/// The word that belongs in each place of a sentence.
pub(super) const MASKED_MODEL: &str = "ForMaskedLM";
/// A model from sequence to sequence.
pub(super) const WRITER: &str = "ForConditionalGeneration";
