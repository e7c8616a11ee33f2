use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use quipu::model::Digest;

use super::{Error, Project};

/// How long nothing changes before a change counts: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// Most files that are watched.
const FILES_MAX: usize = 10_000;

/// Waits for changes of a project's files.
///
/// A change is a difference in the contents of the watched files. Writing the same contents again
/// is none, and neither is what a build writes.
pub struct Watch {
    project: Project,
    known: BTreeMap<PathBuf, Digest>,
    signals: Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch. Changes after this moment are noticed.
    ///
    /// # Errors
    /// When the system can't watch the folder, or the project has too many files.
    pub fn new(project: &Project) -> Result<Self, Error> {
        let (sender, signals) = channel();
        let failed = |error: notify::Error| {
            Error::Failed(format!(
                "{} can't be watched: {error}",
                project.dir.display()
            ))
        };
        let mut watcher = notify::recommended_watcher(move |_| {
            // Fails only when nobody waits any more.
            _ = sender.send(());
        })
        .map_err(failed)?;
        let watched = watcher.watch(&project.dir, RecursiveMode::Recursive);
        watched.map_err(failed)?;
        Ok(Self {
            known: contents(project)?,
            project: project.clone(),
            signals,
            _watcher: watcher,
        })
    }

    /// Waits for the next change and returns the files that differ, in the order of their names.
    /// Blocks the thread.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn wait(&mut self) -> Result<Vec<PathBuf>, Error> {
        loop {
            if self.signals.recv().is_err() {
                return Err(Error::Failed("the system watches no longer".to_owned()));
            }
            while self.signals.recv_timeout(QUIET) != Err(RecvTimeoutError::Timeout) {}
            let changed = self.changed()?;
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
    }

    /// The files that differ from what was seen last.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub fn changed(&mut self) -> Result<Vec<PathBuf>, Error> {
        let now = contents(&self.project)?;
        let differs = |path: &&PathBuf| self.known.get(*path) != now.get(*path);
        let mut changed: Vec<PathBuf> = self
            .known
            .keys()
            .chain(now.keys())
            .filter(differs)
            .cloned()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        self.known = now;
        Ok(changed)
    }
}

/// The contents of every watched file.
fn contents(project: &Project) -> Result<BTreeMap<PathBuf, Digest>, Error> {
    let mut files = BTreeMap::new();
    collect(project, &project.dir, &mut files)?;
    Ok(files)
}

fn collect(
    project: &Project,
    dir: &Path,
    files: &mut BTreeMap<PathBuf, Digest>,
) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io(&path))?;
        if kind.is_dir() {
            if !Project::is_written_by_builds(&path) {
                collect(project, &path, files)?;
            }
        } else if project.watches(&path) {
            if files.len() == FILES_MAX {
                return Err(Error::Failed(format!(
                    "more than {FILES_MAX} files are watched; name fewer with `watch` in quipu.toml"
                )));
            }
            // A file that is gone since it was listed has changed, too.
            if let Ok(bytes) = std::fs::read(&path) {
                files.insert(path, Digest::of(&bytes));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_contents_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write("quipu.toml", "name = \"bank\"\nlanguage = \"python\"\n");
        write("app.py", "1");
        std::fs::create_dir(dir.path().join("build")).unwrap();
        let project = Project::read(dir.path()).unwrap();
        let mut watch = Watch::new(&project).unwrap();
        write("app.py", "2");
        assert_eq!(watch.wait().unwrap(), [dir.path().join("app.py")]);
        write("app.py", "2");
        write("build/bank.wasm", "written by the build");
        write("README.md", "not watched");
        assert_eq!(watch.changed().unwrap(), [""; 0].map(PathBuf::from));
        write("rules.py", "3");
        std::fs::remove_file(dir.path().join("app.py")).unwrap();
        let both = ["app.py", "rules.py"].map(|file| dir.path().join(file));
        assert_eq!(watch.changed().unwrap(), both);
    }
}
