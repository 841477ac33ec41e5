//! The fit of one layer: kept by an earlier run, or made now.

use super::{
    Functions,
    fitter::{Fitter, SharedSystem, Wanted},
    rows::Counted,
    sites::Site,
    store::{FittedLayer, LayerKey},
    vocabulary::Vocabulary,
    walk::Walk,
    walks::Walks,
};
use crate::transfer::error::TransferError;

/// Fits layers one at a time.
pub struct LayerFits<'f> {
    pub functions: &'f Functions<'f>,
    pub counted: &'f Counted,
    /// Nodes that are walked.
    pub walked: usize,
}

/// What layers have in common, made by the first that needs it.
pub struct Common<'c> {
    /// Of all layers at a point.
    pub wanted: &'c mut Option<Wanted>,
    /// Of the layers of one variant that read the same.
    pub system: &'c mut Option<SharedSystem>,
}

impl LayerFits<'_> {
    /// A layer of a variant, whose walk goes on with it.
    ///
    /// # Errors
    /// When activations overflow.
    pub fn fit(
        &self,
        site: &Site,
        key: LayerKey,
        walks: &mut Walks,
        common: Common,
    ) -> Result<FittedLayer, TransferError> {
        let store = self.functions.store;
        if let Some(layer) = store.get(key) {
            self.walk_again(site, &layer, walks.own(key.variant));
            return Ok(layer);
        }

        let layer = if site.point() >= self.walked {
            self.vocabulary(site, walks, key.variant)
        } else {
            self.regression(site, walks, key.variant, common)?
        };

        let layer = store.put(key, layer);
        walks.own(key.variant).take(&layer.tensors);
        Ok(layer)
    }

    /// Walks the path of a layer that was kept, as its fit has done.
    fn walk_again(&self, site: &Site, layer: &FittedLayer, result: &mut Walk) {
        result.take(&layer.tensors);
        let path = site.path.iter().filter(|&&position| position < self.walked);
        path.for_each(|&position| result.step(position));
    }

    fn vocabulary(&self, site: &Site, walks: &Walks, variant: usize) -> FittedLayer {
        let (tuned, result) = (walks.old_tuned(), walks.result(variant));
        Vocabulary {
            functions: self.functions,
            counted: self.counted,
            site,
            tuned,
            result,
        }
        .fit()
    }

    fn regression(
        &self,
        site: &Site,
        walks: &mut Walks,
        variant: usize,
        Common { wanted, system }: Common,
    ) -> Result<FittedLayer, TransferError> {
        let fitter = Fitter {
            functions: self.functions,
            counted: self.counted,
            site,
        };
        let wanted = match wanted {
            Some(wanted) => &*wanted,
            none => &*none.insert(fitter.wanted(walks)?),
        };
        Ok(fitter.fit(wanted, walks.own(variant), system))
    }
}
