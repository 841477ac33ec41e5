//! What the distance between a query and a key adds to their score (Raffel et al. 2020, section 2.1).

use burn::tensor::{Tensor, TensorData};

use crate::{execution::weights::Weights, network::program::layer::PositionBias};

/// `[1, heads, queries, keys]`, to be added to the scores.
pub(super) fn position_bias(
    layer: &PositionBias,
    [queries, keys]: [usize; 2],
    weights: &Weights,
) -> Tensor<4> {
    let table = weights.tensor(&layer.table);
    let [_, heads] = layer.table.shape;
    let buckets: Vec<f32> = (0..queries * keys)
        .map(|i| layer.bucket(i / keys, i % keys) as f32)
        .collect();
    let buckets: Tensor<1> =
        Tensor::from_data(TensorData::new(buckets, [queries * keys]), &table.device());

    table
        .select(0, buckets.int())
        .swap_dims(0, 1)
        .reshape([1, heads, queries, keys])
}

impl PositionBias {
    /// The row of a query's score of a key.
    fn bucket(&self, query: usize, key: usize) -> usize {
        let is_behind = key > query;
        let (own, first) = match (self.one_sided, is_behind) {
            (true, _) => (self.buckets, 0),
            (false, false) => (self.buckets / 2, 0),
            (false, true) => (self.buckets / 2, self.buckets / 2),
        };
        let distance = if self.one_sided && is_behind {
            0
        } else {
            query.abs_diff(key)
        };

        first + self.of_distance(distance, own)
    }

    /// The bucket of a distance among those of one side.
    fn of_distance(&self, distance: usize, buckets: usize) -> usize {
        let single = buckets / 2;
        if distance < single {
            return distance;
        }
        // As the library: a distance at the edge of a bucket depends on the rounding of f32.
        let whole = (self.max_distance as f64 / single as f64).ln() as f32;
        let share = (distance as f32 / single as f32).ln() / whole;
        let beyond = (share * (buckets - single) as f32) as usize;
        (single + beyond).min(buckets - 1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        execution::{executor::Executor, floats},
        network::{Axis, Instruction, Layer, Operand, Param, ParamUse, Role},
        tensors::{Checkpoint, HostTensor},
    };

    fn layer(buckets: usize, max_distance: usize, one_sided: bool) -> PositionBias {
        let table = Param {
            name: "t.weight".into(),
            shape: [buckets, 2],
        };
        PositionBias {
            table,
            buckets,
            max_distance,
            one_sided,
        }
    }

    /// The distances at which a bucket begins, as `T5Attention._relative_position_bucket` of
    /// transformers 5.24 has them.
    #[test]
    fn buckets_begin_where_the_librarys_do() {
        let first = |layer: &PositionBias| -> Vec<usize> {
            let at = |distance: usize| layer.bucket(700, 700 - distance);
            (1..700).filter(|&d| at(d) != at(d - 1)).collect()
        };
        let two_sided = layer(32, 128, false);
        assert_eq!(
            first(&two_sided),
            [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
        );
        let behind: Vec<usize> = (0..10).map(|key| two_sided.bucket(0, key)).collect();
        assert_eq!(behind, [0, 17, 18, 19, 20, 21, 22, 23, 24, 24]);
        assert_eq!(two_sided.bucket(0, 600), 31);

        let one_sided = first(&layer(32, 128, true));
        let whole = [19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113];
        assert_eq!(one_sided[..16], (1..=16).collect::<Vec<_>>());
        assert_eq!(one_sided[16..], whole);
        assert_eq!(layer(32, 128, true).bucket(3, 9), 0);

        assert_eq!(first(&layer(8, 20, false)), [1, 2, 7]);

        assert_eq!(first(&layer(6, 20, true)), [1, 2, 3, 6, 11]);
    }

    #[test]
    fn a_score_gets_its_heads_entry_of_its_row() {
        let layer = layer(4, 9, false);
        let values: Vec<f32> = (0..8u8).map(f32::from).collect();
        let model: Checkpoint = [(
            "t.weight".to_owned(),
            HostTensor::from_f32(vec![4, 2], values),
        )]
        .into_iter()
        .collect();
        let weights = weights(&model);
        // Rows: the query itself 0, keys before it 1, keys behind it 3; two heads.
        let found = floats(position_bias(&layer, [2, 3], &weights));

        assert_eq!(
            found,
            [0.0, 6.0, 6.0, 2.0, 0.0, 6.0, 1.0, 7.0, 7.0, 3.0, 1.0, 7.0]
        );
    }

    fn weights(model: &Checkpoint) -> Weights {
        let param = ParamUse {
            name: "t.weight".into(),
            role: Role::Learned,
            axes: &[Axis::Fixed, Axis::Heads],
            required: true,
            expert: None,
        };
        let instruction = Instruction {
            position: 0,
            id: String::new(),
            op: "attention",
            layer: Layer::Identity,
            inputs: crate::network::Inputs {
                first: Operand::Input,
                rest: Vec::new(),
            },
            output: vec![1],
            sequence: crate::network::Sequence::Input,
            params: vec![param],
        };

        Weights::of(&[instruction], model, &Executor::Burn(Device::flex()))
    }
}
