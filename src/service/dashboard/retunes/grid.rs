//! Fine-tunes × bases, filling in.

use crate::{
    contract::{ids::TransferId, outcome::Verdict},
    service::{campaign::CampaignMember, dashboard::format, domain::transfers::Status},
};

pub struct Grid {
    pub bases: Vec<String>,
    pub rows: Vec<Row>,
}

/// A fine-tune onto each of the bases.
pub struct Row {
    pub fine_tune: String,
    pub cells: Vec<Option<Cell>>,
}

pub struct Cell {
    pub transfer: TransferId,
    /// What is said of it in a word.
    pub word: String,
    /// Its colour: a status or a verdict.
    pub class: &'static str,
    pub figure: String,
    /// Whole percents of the phase that is under way.
    pub percent: Option<u8>,
}

impl Grid {
    /// Of members by fine-tune. Where one was carried onto a base twice, the later one counts.
    pub fn of(members: &[CampaignMember]) -> Self {
        let mut targets: Vec<&str> = Vec::new();
        let mut rows: Vec<(&str, Vec<&CampaignMember>)> = Vec::new();
        for member in members {
            if !targets.contains(&member.target.as_str()) {
                targets.push(&member.target);
            }
            match rows.last_mut() {
                Some((name, row)) if *name == member.fine_tune => row.push(member),
                _ => rows.push((&member.fine_tune, vec![member])),
            }
        }

        let rows = rows.into_iter().map(|(name, members)| Row {
            fine_tune: name.to_owned(),
            cells: targets
                .iter()
                .map(|target| {
                    members
                        .iter()
                        .rev()
                        .find(|member| member.target == *target)
                        .map(|one| Cell::of(one))
                })
                .collect(),
        });
        Self {
            rows: rows.collect(),
            bases: targets
                .iter()
                .map(|target| format::last_part(target))
                .collect(),
        }
    }
}

impl Cell {
    fn of(member: &CampaignMember) -> Self {
        let (word, class) = match (member.status, member.verdict) {
            (Status::Succeeded, Some(Verdict::Rejected)) => ("fell short", "rejected"),
            (Status::Succeeded, _) if member.in_production => ("in production", "production"),
            (Status::Succeeded, _) => ("carried", "published"),
            (status, _) => (status.name(), status.name()),
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast of a float saturates"
        )]
        let percent = member
            .progress
            .map(|share| (share.clamp(0.0, 1.0) * 100.0) as u8);
        Self {
            transfer: member.transfer,
            word: word.to_owned(),
            class,
            figure: member
                .score
                .map(|score| format::percent(Some(score)))
                .unwrap_or_default(),
            percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, target: &str, status: Status) -> CampaignMember {
        CampaignMember {
            fine_tune: name.into(),
            target: target.into(),
            transfer: TransferId::generate(),
            status,
            verdict: None,
            recommendation: None,
            score: None,
            source_score: None,
            target_score_before: None,
            compute_seconds: 0.0,
            version: None,
            state: None,
            in_production: false,
            error: None,
            progress: Some(0.5),
        }
    }

    #[test]
    fn what_is_not_carried_leaves_a_hole() {
        let members = [
            member("a", "file:///one/", Status::Running),
            member("a", "file:///two/", Status::Failed),
            member("b", "file:///two/", Status::Queued),
            member("b", "file:///two/", Status::Cancelled),
        ];
        let grid = Grid::of(&members);
        assert_eq!(grid.bases, ["one", "two"]);
        let told = |row: usize| -> Vec<_> {
            grid.rows[row]
                .cells
                .iter()
                .map(|cell| cell.as_ref().map(|cell| cell.word.clone()))
                .collect()
        };
        assert_eq!(told(0), [Some("running".into()), Some("failed".into())]);
        assert_eq!(told(1), [None, Some("cancelled".into())]);
        assert_eq!(grid.rows[0].cells[0].as_ref().unwrap().percent, Some(50));
    }
}
