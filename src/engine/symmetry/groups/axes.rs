//! The axes of the tensors, and the groups that they follow.

use std::collections::{BTreeMap, HashMap};

use super::{
    Followed, Group, Member, Runs, Symmetry,
    attention_spaces::AttentionSpaces,
    convolutions::arrangements,
    experts::Experts,
    spaces::{ExpertSpaces, Space, Spaces},
};
use crate::{
    network::{Axis, ParamUse, Role},
    symmetry::Attention,
};

/// A tensor as one node reads it.
pub(super) struct Use<'a> {
    pub param: &'a ParamUse,
    /// The space of the node's first input.
    pub read: Space,
    /// The space that the node puts out.
    pub output: Space,
    /// The space inside the node that the tensor belongs to: the hidden units of its expert, or its heads.
    pub hidden: Option<Space>,
}

/// One permuted or fixed axis of a tensor.
pub(super) struct AxisUse {
    tensor: String,
    axis: usize,
    role: Role,
    space: Space,
    opens: bool,
    /// It has an entry for each head of an attention.
    is_of_heads: bool,
}

/// Groups, and which of them the units of a class are.
#[derive(Default)]
struct Opened {
    groups: Vec<Group>,
    of_class: HashMap<usize, usize>,
}

/// Entries of an axis: consecutive ones, or runs of them.
struct Range {
    class: usize,
    start: usize,
    size: usize,
    runs: Option<Runs>,
    /// What is added to the tensor's prefix to name the group.
    part: String,
}

impl AxisUse {
    /// The name of a group that begins here.
    fn group_name(&self, part: &str) -> String {
        let prefix = self
            .tensor
            .rsplit_once('.')
            .map_or(self.tensor.as_str(), |(prefix, _)| prefix);
        format!("{prefix}{part}")
    }
}

impl Spaces {
    /// The axes of every tensor, once each; a tensor that two nodes read ties their spaces.
    pub(super) fn tie(&mut self, uses: Vec<Use<'_>>) -> Vec<AxisUse> {
        let mut axes: Vec<AxisUse> = Vec::new();
        let mut seen: HashMap<(&str, usize), usize> = HashMap::new();
        // An embedding's rows are words to all who read it.
        let mut pinned: Vec<(&str, usize)> = Vec::new();
        for Use {
            param,
            read,
            output,
            hidden,
        } in uses
        {
            for (axis, kind) in param.axes.iter().enumerate() {
                let place = (param.name.as_str(), axis);
                let space = match (kind, hidden) {
                    (Axis::Output, _) => output,
                    (Axis::Input, _) => read,
                    (Axis::Hidden | Axis::Heads, Some(hidden)) => hidden,
                    (Axis::HiddenPairs, Some(hidden)) => Space {
                        size: 2 * hidden.size,
                        ..hidden
                    },
                    (Axis::Fixed, _) | (_, None) => {
                        pinned.push(place);
                        continue;
                    }
                };
                let is_of_heads = *kind == Axis::Heads;
                if let Some(&first) = seen.get(&place) {
                    // Attentions that share it have one order of heads, not of what is in them.
                    if !(is_of_heads && axes[first].is_of_heads) {
                        self.union(axes[first].space.class, space.class);
                    }
                    continue;
                }

                seen.insert(place, axes.len());
                axes.push(AxisUse {
                    tensor: param.name.clone(),
                    axis,
                    role: param.role,
                    space,
                    // The first layer of an expert opens its hidden space, the last reads it.
                    opens: matches!(kind, Axis::Output | Axis::HiddenPairs)
                        || (*kind == Axis::Hidden && axis == 0 && param.axes.len() == 2),
                    is_of_heads,
                });
            }
        }

        for pin in pinned {
            if let Some(&first) = seen.get(&pin) {
                self.fix(axes[first].space.class);
            }
        }

        axes
    }

    pub(super) fn collect(&self, axes: Vec<AxisUse>) -> Symmetry {
        let Opened {
            mut groups,
            of_class,
        } = self.opened(&axes);
        let mut tensors: BTreeMap<String, Vec<Followed>> = BTreeMap::new();
        for axis in &axes {
            for range in self.ranges(axis) {
                let Some(&group) = of_class.get(&range.class) else {
                    continue;
                };
                let followed = Followed {
                    axis: axis.axis,
                    group,
                    member: groups[group].members.len(),
                };
                let member = self.member(axis, range);
                groups[group].members.push(member);
                tensors
                    .entry(axis.tensor.clone())
                    .or_default()
                    .push(followed);
            }
        }

        let tied = self.tied_heads();
        let grouped = self.grouped_weights(&of_class);
        let of_convolutions = arrangements(&grouped, tied.len(), |group| groups[group].units);
        let attentions = tied
            .iter()
            .enumerate()
            .flat_map(|(order, set)| self.attentions_of(order, set, &of_class))
            .chain(of_convolutions)
            .collect();
        let experts = self
            .of_experts
            .iter()
            .filter_map(|experts| self.ordered(experts, &of_class));
        let experts = experts.collect();
        let (free, places) = (Vec::new(), BTreeMap::new());

        Symmetry {
            groups,
            experts: Vec::new(),
            attentions,
            free,
            tensors,
            places,
            grouped,
        }
        .with_experts(experts)
    }

    /// A group for every class of units that may move, still without members. Axes that open a space come
    /// first, so that a group is named after where its units begin.
    fn opened(&self, axes: &[AxisUse]) -> Opened {
        let mut opened = Opened::default();
        let (opening, reading): (Vec<&AxisUse>, Vec<&AxisUse>) =
            axes.iter().partition(|axis| axis.opens);
        for axis in opening.into_iter().chain(reading) {
            for Range { class, part, .. } in self.ranges(axis) {
                let is_known = opened.of_class.contains_key(&class);
                if self.fixed[class] || self.units[class] < 2 || is_known {
                    continue;
                }
                opened.of_class.insert(class, opened.groups.len());
                opened.groups.push(Group {
                    name: axis.group_name(&part),
                    units: self.units[class],
                    members: Vec::new(),
                });
            }
        }

        opened
    }

    /// A range of an axis as a member of its group.
    fn member(&self, axis: &AxisUse, range: Range) -> Member {
        let units = self.units[range.class];
        Member {
            tensor: axis.tensor.clone(),
            axis: axis.axis,
            start: range.start,
            repeat: (range.size / units).max(1),
            share: (units / range.size.max(1)).max(1),
            runs: range.runs,
            role: axis.role,
        }
    }

    /// Experts whose order is a group.
    fn ordered(&self, spaces: &ExpertSpaces, of_class: &HashMap<usize, usize>) -> Option<Experts> {
        let order = of_class
            .get(&self.find(spaces.order))
            .filter(|_| spaces.is_ordered)?;
        let hidden = spaces
            .hidden
            .iter()
            .filter_map(|space| of_class.get(&self.find(space.class)));
        let (order, hidden) = (*order, hidden.copied().collect());

        Some(Experts {
            order,
            hidden,
            tensors: spaces.tensors.clone(),
        })
    }

    /// The attentions of an order of heads whose spaces are groups, those of the same groups once.
    fn attentions_of(
        &self,
        order: usize,
        set: &[usize],
        of_class: &HashMap<usize, usize>,
    ) -> Vec<Attention> {
        let mut attentions = Vec::new();
        for &position in set {
            let found = self.attention_of(order, &self.heads[position], of_class);
            attentions.extend(found.filter(|one| !attentions.contains(one)));
        }
        attentions
    }

    fn attention_of(
        &self,
        order: usize,
        spaces: &AttentionSpaces,
        of_class: &HashMap<usize, usize>,
    ) -> Option<Attention> {
        let &AttentionSpaces {
            classes,
            heads,
            kv_heads,
            head_size,
            fixed_dimensions,
            ..
        } = spaces;
        let [queries, keys, values, output] =
            classes.map(|class| of_class.get(&self.find(class)).copied());

        Some(Attention {
            order,
            queries: queries?,
            keys: keys?,
            values: values?,
            output: output?,
            heads,
            kv_heads,
            head_size,
            fixed_dimensions,
        })
    }

    /// The ranges of an axis, each with a class of its own.
    fn ranges(&self, axis: &AxisUse) -> Vec<Range> {
        let class = self.find(axis.space.class);
        let Some(parts) = self.parts.get(&class) else {
            let part = if axis.opens { "" } else { ".input" }.to_owned();
            return vec![Range {
                class,
                start: 0,
                size: axis.space.size,
                runs: None,
                part,
            }];
        };

        let period = parts.turns.map(|turn| turn * parts.all.len());
        let whole: usize = parts.all.iter().map(|part| part.size).sum();
        // A flattening gives every channel so many entries.
        let each = (axis.space.size / whole.max(1)).max(1);
        let mut start = 0;
        let mut ranges = Vec::with_capacity(parts.all.len());
        for part in &parts.all {
            let class = self.find(part.class);
            let runs = parts
                .turns
                .zip(period)
                .map(|(units, period)| Runs { units, period });
            ranges.push(Range {
                class,
                start,
                size: part.size * each,
                runs,
                part: part.name.clone(),
            });
            start += parts.turns.unwrap_or(part.size * each);
        }

        ranges
    }
}
