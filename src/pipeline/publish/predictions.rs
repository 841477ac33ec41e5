//! The samples that judged, with what the old tuned model, the new base and the result say of each.

use crate::{
    artifacts::{Column, Predictions},
    engine::training::{Dataset, Evaluation, Tally},
    pipeline::{comparison::Comparison, context::Context},
};

/// The table of the split that judges; `None` without data.
///
/// A row is a sample, or for a language model a sequence, of which only the counts are kept. Of values there is no
/// table: it has whole numbers.
pub fn of(context: &Context, comparison: &Comparison) -> Option<Predictions> {
    let splits = &context.inputs.splits;
    let data = splits.test.as_ref();
    let data = data.filter(|data| !data.judged().is_of_values())?;
    let baselines = &comparison.baselines;
    let models = Models {
        result: comparison.test()?,
        old_tuned: &baselines.source_tuned.as_ref()?.test,
        new_base: &baselines.target_before.as_ref()?.test,
    };
    Some(models.table(data, !splits.unlabelled.test))
}

/// Three models on the same samples.
struct Models<'a> {
    result: &'a Evaluation,
    old_tuned: &'a Evaluation,
    new_base: &'a Evaluation,
}

impl Models<'_> {
    fn table(&self, data: &Dataset, has_labels: bool) -> Predictions {
        let samples = 0..data.len() as i64;
        let counted = Tally::of(self.result, data)
            .into_iter()
            .map(|tally| tally.counted.into());
        let mut columns = vec![
            Column {
                name: "sample",
                values: samples.map(Some).collect(),
            },
            Column {
                name: "counted",
                values: counted.map(Some).collect(),
            },
            Column {
                name: "agrees",
                values: self.agreeing(data),
            },
        ];

        if data.labels_each() == 1 {
            columns.extend([
                classes("result", self.result),
                classes("old_tuned", self.old_tuned),
                classes("new_base", self.new_base),
            ]);
        }

        if has_labels {
            columns.extend([
                right("result_right", self.result, data),
                right("old_tuned_right", self.old_tuned, data),
                right("new_base_right", self.new_base, data),
            ]);
        }

        if has_labels && data.labels_each() == 1 {
            let labels = data.labels().iter().copied().map(Some).collect();
            columns.push(Column {
                name: "label",
                values: labels,
            });
        }

        Predictions { columns }
    }

    /// Predictions of the result that are the old tuned model's, by sample.
    fn agreeing(&self, data: &Dataset) -> Vec<Option<i64>> {
        let (own, old) = (&self.result.predictions, &self.old_tuned.predictions);
        let agreeing = data.agreeing(own, old).into_iter();
        agreeing.map(|count| Some(count.into())).collect()
    }
}

fn classes(name: &'static str, of: &Evaluation) -> Column {
    let values = of
        .predictions
        .iter()
        .map(|&class| Some(i64::from(class)))
        .collect();
    Column { name, values }
}

fn right(name: &'static str, of: &Evaluation, data: &Dataset) -> Column {
    let values = Tally::of(of, data)
        .into_iter()
        .map(|tally| Some(tally.right as i64));
    Column {
        name,
        values: values.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{tensors::HostTensor, training::cross_entropy::IGNORED};

    fn evaluation(predictions: &[u32]) -> Evaluation {
        Evaluation {
            loss: 0.0,
            accuracy: 0.0,
            predictions: predictions.to_vec(),
        }
    }

    fn column(table: &Predictions, name: &str) -> Option<Vec<i64>> {
        let column = table.columns.iter().find(|column| column.name == name)?;
        Some(column.values.iter().copied().flatten().collect())
    }

    #[test]
    fn each_sample_has_what_three_models_say_of_it() {
        let inputs = HostTensor::from_f32(vec![3, 1], vec![0.0; 3]);
        let data = Dataset::from_floats(inputs, vec![0, 1, 2]);
        let [result, old_tuned, new_base] =
            [[0, 1, 1], [0, 2, 2], [2, 2, 2]].map(|classes| evaluation(&classes));
        let models = Models {
            result: &result,
            old_tuned: &old_tuned,
            new_base: &new_base,
        };
        let table = models.table(&data, true);
        assert_eq!(column(&table, "agrees"), Some(vec![1, 0, 0]));
        assert_eq!(column(&table, "result_right"), Some(vec![1, 1, 0]));
        assert_eq!(column(&table, "old_tuned"), Some(vec![0, 2, 2]));
        assert_eq!(column(&table, "label"), Some(vec![0, 1, 2]));

        let without = models.table(&data, false);

        assert_eq!(
            (column(&without, "label"), column(&without, "result_right")),
            (None, None)
        );
    }

    #[test]
    fn a_sequence_is_one_row_of_counts() {
        let ids = HostTensor::from_f32(vec![2, 3], vec![0.0; 6]);
        let data = Dataset::of_tokens(ids, &[0, 1, 2, 3, IGNORED, 5]);
        let [result, old_tuned] = [[1, 0, 5], [1, 1, 5]].map(|classes| evaluation(&classes));
        let models = Models {
            result: &result,
            old_tuned: &old_tuned,
            new_base: &old_tuned,
        };
        let table = models.table(&data, true);
        assert_eq!(column(&table, "counted"), Some(vec![2, 1]));
        assert_eq!(column(&table, "agrees"), Some(vec![1, 1]));
        assert_eq!(column(&table, "result_right"), Some(vec![1, 1]));

        assert_eq!(column(&table, "result"), None);
    }
}
