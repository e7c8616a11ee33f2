//! Re-decides stored rejections.

use super::name::FindingName;
use super::replay::{Lane, failed, fitted, is_of_the_stream, of_host};
use super::report::{Finding, Kind, Weight, diff, shortened};
use crate::model::{Position, StreamId, Version};
use crate::runtime::Outcome;
use crate::store::{self, Rejected};

impl Lane {
    /// Re-decides the rejections of a stream that were made at a version.
    pub(super) fn refuse(&mut self, stream: &StreamId, at: Version) -> Result<(), store::Error> {
        while let Some(waiting) = self.rejections.get_mut(stream) {
            match waiting.front().map(|rejected| rejected.version) {
                Some(version) if version <= at => {}
                Some(_) => return Ok(()),
                None => {
                    self.rejections.remove(stream);
                    return Ok(());
                }
            }
            let rejected = waiting.pop_front();
            // Rejections at an earlier version are left out, because the events there were not
            // checked.
            if let Some(rejected) = rejected.filter(|rejected| rejected.version == at) {
                self.decide_rejected(&rejected)?;
            }
        }
        Ok(())
    }

    /// Re-decides the rejections that were made at the current version of their stream.
    pub(super) fn refuse_the_rest(&mut self) -> Result<(), store::Error> {
        let streams: Vec<StreamId> = self.rejections.keys().cloned().collect();
        for stream in streams {
            if self.stop.is_over() {
                break;
            }
            self.refuse(&stream, self.commits.head(&stream))?;
        }
        Ok(())
    }

    pub(super) fn decide_rejected(&mut self, rejected: &Rejected) -> Result<(), store::Error> {
        let (stream, command) = (&rejected.stream, &*rejected.command);
        let judged = self.judge.rules(stream, rejected.plan, rejected.module);
        let mut by = None;
        let found = match judged {
            Err(why) => Some((Kind::Module, why)),
            Ok(_) if self.lost.contains(stream) => Some((Kind::Fold, String::new())),
            Ok(rules) => {
                let command = fitted(command, &rules);
                let annotations =
                    crate::model::annotations(command.metadata.as_ref(), &command.context);
                let place = (stream, rejected.version);
                match self.states.decide(&rules, place, &command, &annotations) {
                    Ok(Ok(decision)) => self.otherwise(rejected, decision.outcome),
                    Ok(Err(failure)) if failure.is_of_host() => return Err(of_host(&failure)),
                    Ok(Err(failure)) => Some((Kind::Fault, failure.to_string())),
                    Err(error) if is_of_the_stream(&error) => {
                        self.lost.insert(stream.clone());
                        by = Some(rules);
                        Some((Kind::Fold, error.to_string()))
                    }
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        let kind = found.as_ref().map(|(kind, _)| *kind);
        self.tally(stream, command).refuse(kind);
        let Some((kind, text)) = found.filter(|(_, text)| !text.is_empty()) else {
            return Ok(());
        };
        let place = (stream, rejected.version);
        let finding = Finding {
            name: FindingName::of_rejection(kind, place, &command.id),
            weight: Weight::Open,
            kind,
            position: Position(0),
            stream: stream.clone(),
            version: rejected.version,
            command: Some((command.id.clone(), command.name.clone())),
            module: Some(rejected.module),
            plan: rejected.plan,
            text,
        };
        match by {
            Some(rules) => self.find_fold_before(finding, &rules),
            None => {
                self.find(finding);
                Ok(())
            }
        }
    }

    /// Compares a decision with the stored rejection.
    fn otherwise(&self, rejected: &Rejected, outcome: Outcome) -> Option<(Kind, String)> {
        let (code, message) = (&rejected.code, shortened(&rejected.message));
        let recorded = format!("- rejected as {code}: {message}");
        match outcome {
            Outcome::Rejected(now) if self.judge.is_same_rejection(rejected, &now) => None,
            Outcome::Rejected(now) => {
                let (code, message) = (&now.code, shortened(&now.message));
                let text = format!("{recorded}\n+ rejected as {code}: {message}");
                Some((Kind::Rejection, text))
            }
            Outcome::Events(events) => {
                let now = match events.as_slice() {
                    [] => "+ accepted without events".to_owned(),
                    events => diff(&[], events),
                };
                Some((
                    Kind::Accepted,
                    format!("it is accepted now\n{recorded}\n{now}"),
                ))
            }
            Outcome::BadCommand(text) => {
                let text = format!("the command can't be read now: {text}\n{recorded}");
                Some((Kind::Command, text))
            }
        }
    }
}
