//! The permutations of each method: found once, and known to those that build upon them.
//!
//! Progress counts what each timestep takes (see [`Work`]), so that its pace tells the end.

use std::rc::Rc;

use super::{
    cache::{DiskGradients, matchings},
    context::Context,
    failure::Failure,
    meter::Seconds,
};
use crate::{
    contract::spec::Methods,
    engine::{
        symmetry::Permutation,
        training::Cost,
        transfer::{Alignment, Method, Problem, Stores, methods},
    },
};

/// The alignments found so far: a method that builds upon another's need not find it again.
pub struct Alignments<'b, 'a> {
    context: &'b Context<'a>,
    found: Vec<(Method, Aligned)>,
}

/// An alignment and what it cost, with all that it builds upon.
#[derive(Clone)]
pub struct Aligned {
    pub alignment: Alignment,
    pub cost: Cost,
    pub seconds: Seconds,
}

impl<'b, 'a> Alignments<'b, 'a> {
    pub fn new(context: &'b Context<'a>) -> Self {
        Self {
            context,
            found: Vec::new(),
        }
    }

    /// A method's alignment, where it was found.
    pub fn found(&self, method: Method) -> Option<&Aligned> {
        self.found
            .iter()
            .find(|(m, _)| *m == method)
            .map(|(_, aligned)| aligned)
    }

    /// A method's alignment, found now or before, on that which it builds upon.
    pub fn of(&mut self, method: Method, gradfix_on: Method) -> Result<Aligned, Failure> {
        if let Some(aligned) = self.found(method) {
            return Ok(aligned.clone());
        }
        let context = self.context;
        let on = match methods::builds_on(method, gradfix_on, context.source.is_some()) {
            Some(on) => Some(self.of(on, gradfix_on)?),
            None => None,
        };

        let (before, start) = (context.cost(), Seconds::read());
        let gradients = Rc::new(DiskGradients::of(context.inputs, context.job, method));
        context.gradients.borrow_mut().push(Rc::clone(&gradients));

        let work = Work::of(method);
        let progress =
            |done, total| context.advance(work.within(done), work.within(total), work.unit());
        let problem = Problem {
            stores: Stores {
                gradients: &*gradients,
                steps: &*gradients,
                layers: &*gradients,
                trials: &*gradients,
                ..Stores::IN_MEMORY
            },
            start: self.start(),
            ..context.problem(&progress)
        };

        let alignment = if method == Method::WeightMatching {
            weight_matching(context, &problem)?
        } else {
            let on = on.as_ref().map(|on| &on.alignment);
            methods::align(method, &problem, on, Some(&context.oracle_plan()))?
        };

        let mut aligned = Aligned {
            alignment,
            cost: context.cost() - before,
            seconds: start.passed(),
        };
        if let Some(on) = on {
            aligned.cost = aligned.cost + on.cost;
            aligned.seconds = aligned.seconds + on.seconds;
        }

        self.found.push((method, aligned.clone()));
        Ok(aligned)
    }

    /// The π of the bases' weights, which `auto` has from an earlier rung. A named method is the same
    /// whatever is named beside it.
    fn start(&self) -> Option<&Permutation> {
        let is_auto = matches!(self.context.job.spec.methods, Methods::Auto);
        let found = self.found(Method::WeightMatching).filter(|_| is_auto);
        found.and_then(|aligned| aligned.alignment.transports.last()?.permutation())
    }
}

/// Weight matching's alignment, from the cache where it is there.
fn weight_matching(context: &Context, problem: &Problem) -> Result<Alignment, Failure> {
    let matched = matchings::weight_matching(context.inputs, context.job, problem)?;
    if matched.origin.is_some() {
        context.weight_matching.set(matched.origin);
    }
    Ok(matched.alignment)
}

/// What a timestep of a method takes, so that progress grows with time and its pace tells the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// The same at every step.
    Even,
    /// GMT draws and compares the pairs of all steps before, at every step anew.
    Growing,
}

impl Work {
    fn of(method: Method) -> Self {
        if method == Method::Gmt {
            Self::Growing
        } else {
            Self::Even
        }
    }

    /// What the first so many timesteps take, in [`Work::unit`]s.
    fn within(self, timesteps: usize) -> usize {
        match self {
            Self::Even => timesteps,
            Self::Growing => timesteps.saturating_mul(timesteps + 1) / 2,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Even => "timesteps",
            Self::Growing => "gradient pairs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At T = 400, 6 steps are no 6/400 of the time: the pace of pairs tells the end.
    #[test]
    fn progress_of_gmt_grows_with_its_pairs_of_gradients() {
        let gmt = Work::of(Method::Gmt);
        assert_eq!(
            (gmt.within(0), gmt.within(6), gmt.within(400)),
            (0, 21, 80_200)
        );
        assert_eq!(gmt.unit(), "gradient pairs");
        let others = Work::of(Method::Fgmt);
        assert_eq!(
            (others.within(6), others.within(400), others.unit()),
            (6, 400, "timesteps")
        );
    }
}
