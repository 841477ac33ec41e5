//! The samples that judged, with what the old tuned model, the new base and the result say of each.

use crate::{
    artifacts::{Column, Figures, Predictions},
    engine::training::{Dataset, Evaluation, Tally, Value},
    pipeline::{comparison::Comparison, context::Context},
};

/// The table of the split that judges; `None` without data.
///
/// A row is a sample, or for a language model a sequence, of which only the counts are kept. A regression has its
/// values in the place of classes; nothing is counted of them.
pub fn of(context: &Context, comparison: &Comparison) -> Option<Predictions> {
    let splits = &context.inputs.splits;
    let data = splits.test.as_ref()?;
    let baselines = &comparison.baselines;
    let models = Models {
        result: comparison.test()?,
        old_tuned: &baselines.source_tuned.as_ref()?.test,
        new_base: &baselines.target_before.as_ref()?.test,
    };
    let has_labels = !splits.unlabelled.test;

    Some(if data.judged().is_of_values() {
        models.values(data, has_labels)
    } else {
        models.table(data, has_labels)
    })
}

/// Three models on the same samples.
struct Models<'a> {
    result: &'a Evaluation,
    old_tuned: &'a Evaluation,
    new_base: &'a Evaluation,
}

impl Models<'_> {
    fn table(&self, data: &Dataset, has_labels: bool) -> Predictions {
        let counted = Tally::of(self.result, data)
            .into_iter()
            .map(|tally| tally.counted.into());
        let counted = counted.map(Some).collect();
        let mut columns = vec![
            numbers(data),
            whole("counted", counted),
            whole("agrees", self.agreeing(data)),
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
            columns.push(whole("label", labels));
        }

        Predictions { columns }
    }

    /// The values that the models tell of each sample, and that it has; of several each in columns of its own.
    fn values(&self, data: &Dataset, has_labels: bool) -> Predictions {
        let each = data.labels_each();
        let models = [
            ("result", self.result),
            ("old_tuned", self.old_tuned),
            ("new_base", self.new_base),
        ];

        let mut columns = vec![numbers(data)];
        for (name, model) in models {
            let told = model.predictions.iter();
            let told = told.map(|&prediction| Value::of_prediction(prediction));
            columns.extend(of_places(name, &told.collect::<Vec<_>>(), each));
        }
        if has_labels {
            let labels = data.labels().iter().map(|&label| Value::of_label(label));
            columns.extend(of_places("label", &labels.collect::<Vec<_>>(), each));
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

/// The positions of the samples in their split.
fn numbers(data: &Dataset) -> Column {
    whole("sample", (0..data.len() as i64).map(Some).collect())
}

fn whole(name: &str, figures: Vec<Option<i64>>) -> Column {
    Column {
        name: name.to_owned(),
        figures: Figures::Whole(figures),
    }
}

/// Values, so many of a sample: a column for each of them, by its number where there are several.
fn of_places(name: &str, values: &[Value], each: usize) -> impl Iterator<Item = Column> {
    (0..each).map(move |place| {
        let of_place = values.iter().skip(place).step_by(each);
        let figures = of_place.map(|&Value(value)| value.is_finite().then_some(value));
        let name = if each == 1 {
            name.to_owned()
        } else {
            format!("{name}_{place}")
        };

        Column {
            name,
            figures: Figures::Values(figures.collect()),
        }
    })
}

fn classes(name: &str, of: &Evaluation) -> Column {
    let told = of.predictions.iter();
    whole(name, told.map(|&class| Some(i64::from(class))).collect())
}

fn right(name: &str, of: &Evaluation, data: &Dataset) -> Column {
    let tallies = Tally::of(of, data).into_iter();
    whole(
        name,
        tallies.map(|tally| Some(tally.right as i64)).collect(),
    )
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
        match &column.figures {
            Figures::Whole(figures) => Some(figures.iter().copied().flatten().collect()),
            Figures::Values(_) => None,
        }
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

    /// Two values of each sample, one of which is no number.
    #[test]
    fn a_regression_has_values_in_the_place_of_classes() {
        let inputs = HostTensor::from_f32(vec![2, 1], vec![0.0; 2]);
        let data = Dataset::unlabelled(inputs).of_values(&[0.5, 1.0, 1.5, 2.0]);
        let told = |values: [f32; 4]| evaluation(&values.map(|value| Value(value).prediction()));
        let [result, old_tuned] = [[0.25, 1.0, f32::NAN, -2.0], [0.5; 4]].map(told);
        let models = Models {
            result: &result,
            old_tuned: &old_tuned,
            new_base: &old_tuned,
        };
        let table = models.values(&data, true);
        let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        let expected = [
            "sample",
            "result_0",
            "result_1",
            "old_tuned_0",
            "old_tuned_1",
            "new_base_0",
            "new_base_1",
            "label_0",
            "label_1",
        ];
        assert_eq!(names, expected);
        let values = |at: usize| table.columns[at].figures.clone();
        assert_eq!(values(1), Figures::Values(vec![Some(0.25), None]));
        assert_eq!(values(2), Figures::Values(vec![Some(1.0), Some(-2.0)]));
        assert_eq!(values(8), Figures::Values(vec![Some(1.0), Some(2.0)]));

        assert_eq!(models.values(&data, false).columns.len(), 7);
    }
}
