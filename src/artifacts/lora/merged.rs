//! Tensors of a base with an adapter's changes in them.

use super::changes::{Change, Product, Rows, Shift};
use crate::{
    artifacts::error::ArtifactError,
    contract::codes::FailureCode,
    engine::tensors::{Checkpoint, HostTensor, LowRankProduct},
    storage::Location,
};

impl Change {
    /// Refuses copies of a tensor that were trained apart from each other: here both sides of a network look words up
    /// in one table.
    pub fn check_copies(&self, own: &Checkpoint, place: &Location) -> Result<(), ArtifactError> {
        let Some(whole) = &self.whole else {
            return Ok(());
        };
        let mut copies = self.copies.iter();
        let Some(other) = copies.find(|copy| own[*copy].bytes() != own[whole].bytes()) else {
            return Ok(());
        };

        let detail = format!(
            "is one table with {whole} in the base, and has other values here; merge the adapter into its base instead"
        );
        let code = FailureCode::NotImplemented;
        Err(ArtifactError::tensor(code, place, other, detail))
    }

    /// The changed tensor, of the base's where nothing stands in its place; lazy where the base's is.
    pub fn of(&self, base: Option<&HostTensor>, own: &Checkpoint) -> Option<HostTensor> {
        let mut tensor = match &self.whole {
            Some(whole) => own[whole].clone(),
            None => base?.clone(),
        };
        if let Some(product) = &self.product {
            tensor = product.of(own).merged_into(&tensor);
        }

        if let Some(Shift { bias, scale }) = &self.shift {
            let zero = HostTensor::from_f32(tensor.shape().to_vec(), vec![0.0; tensor.len()]);
            let plain = HostTensor::from_f32(tensor.shape().to_vec(), tensor.f32().into_owned());
            tensor = plain.shifted(&zero, &own[bias], *scale);
        }

        Some(match &self.rows {
            Some(Rows { values, indices }) => tensor.with_rows(indices, &own[values]),
            None => tensor,
        })
    }
}

impl Product {
    fn of<'a>(&self, own: &'a Checkpoint) -> LowRankProduct<'a> {
        LowRankProduct {
            a: &own[&self.a],
            b: &own[&self.b],
            scale: self.scale,
            transposed: self.transposed,
            magnitude: self.magnitude.as_ref().map(|name| &own[name]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor::from_f32(shape.to_vec(), values.to_vec())
    }

    #[test]
    fn rows_replace_what_the_product_has_changed() {
        let own: Checkpoint = [
            ("a".to_owned(), tensor(&[1, 3], &[1.0, 2.0, 3.0])),
            ("b".to_owned(), tensor(&[2, 1], &[10.0, 1.0])),
            ("rows".to_owned(), tensor(&[1, 2], &[7.0, 8.0])),
        ]
        .into_iter()
        .collect();
        let change = Change {
            product: Some(Product {
                a: "a".into(),
                b: "b".into(),
                scale: 2.0,
                transposed: true,
                magnitude: None,
            }),
            rows: Some(Rows {
                values: "rows".into(),
                indices: vec![1],
            }),
            ..Change::default()
        };
        let changed = change.of(Some(&tensor(&[3, 2], &[0.0; 6])), &own).unwrap();
        assert_eq!(changed.f32().as_ref(), [20.0, 2.0, 7.0, 8.0, 60.0, 6.0]);
    }
}
