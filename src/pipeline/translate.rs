//! The specification's words in the engine's, which knows no wire format.

use crate::{
    contract::spec,
    engine::{
        training::Optimizer,
        transfer::{
            options::{Alpha, Head, Method, Schedule, Step},
            race::Rules,
        },
    },
};

impl From<spec::Selection> for Rules {
    fn from(of: spec::Selection) -> Self {
        let spec::Selection {
            samples,
            confidence,
            margin,
        } = of;
        Self {
            samples,
            confidence,
            margin,
            races: 1,
        }
    }
}

impl From<spec::Method> for Method {
    fn from(method: spec::Method) -> Self {
        match method {
            spec::Method::Identity => Self::Identity,
            spec::Method::Functional => Self::Functional,
            spec::Method::WeightMatching => Self::WeightMatching,
            spec::Method::Gmt => Self::Gmt,
            spec::Method::Fgmt => Self::Fgmt,
            spec::Method::Gradfix => Self::Gradfix,
            spec::Method::Bico => Self::Bico,
            spec::Method::Theseus => Self::Theseus,
            spec::Method::Oracle => Self::Oracle,
        }
    }
}

impl From<Method> for spec::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Identity => Self::Identity,
            Method::Functional => Self::Functional,
            Method::WeightMatching => Self::WeightMatching,
            Method::Gmt => Self::Gmt,
            Method::Fgmt => Self::Fgmt,
            Method::Gradfix => Self::Gradfix,
            Method::Bico => Self::Bico,
            Method::Theseus => Self::Theseus,
            Method::Oracle => Self::Oracle,
        }
    }
}

impl From<spec::Schedule> for Schedule {
    fn from(schedule: spec::Schedule) -> Self {
        match schedule {
            spec::Schedule::Uniform => Self::Uniform,
            spec::Schedule::Cosine => Self::Cosine,
        }
    }
}

impl From<spec::Step> for Step {
    fn from(step: spec::Step) -> Self {
        match step {
            spec::Step::Best => Self::Best,
            spec::Step::Last => Self::Last,
        }
    }
}

impl From<spec::Head> for Head {
    fn from(head: spec::Head) -> Self {
        match head {
            spec::Head::Transport => Self::Transport,
            spec::Head::Source => Self::Source,
            spec::Head::Keep => Self::Keep,
        }
    }
}

impl From<spec::Alpha> for Alpha {
    fn from(alpha: spec::Alpha) -> Self {
        match alpha {
            spec::Alpha::Fixed(alpha) => Self::Fixed(alpha),
            spec::Alpha::Search => Self::Search,
            spec::Alpha::ByGroup => Self::ByGroup,
        }
    }
}

impl From<spec::Optimizer> for Optimizer {
    fn from(optimizer: spec::Optimizer) -> Self {
        match optimizer {
            spec::Optimizer::Sgd => Self::Sgd,
            spec::Optimizer::Adamw => Self::AdamW,
        }
    }
}
