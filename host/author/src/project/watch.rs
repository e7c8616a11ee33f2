use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use glob::Pattern;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use quipu::model::Digest;

use super::{Error, Language, Project};

/// How long nothing changes before a change counts: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(100);
/// A change counts after that long also if others follow all the time.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// Most files that are watched.
const FILES_MAX: usize = 10_000;

/// Waits for changes of a project's files.
///
/// A change is a difference in the contents of the watched files. Writing the same contents again
/// is none, and neither is what a build writes. The installation of the build tool in the project's
/// own folder is one, so that a build that missed it is tried once more.
pub struct Watch {
    project: Project,
    /// Files that are watched in addition to those of the project, wherever they are.
    named: Vec<PathBuf>,
    known: BTreeMap<PathBuf, Digest>,
    has_tool: bool,
    signals: Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begins to watch. Changes after this moment are noticed.
    ///
    /// # Errors
    /// When the system can't watch the folder, or the project has too many files.
    pub fn new(project: &Project) -> Result<Self, Error> {
        Self::also(project, &[])
    }

    /// Begins to watch these files, too, also when a build writes them.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn also(project: &Project, named: &[PathBuf]) -> Result<Self, Error> {
        let (sender, signals) = channel();
        let failed = |error: notify::Error| {
            Error::Failed(format!(
                "{} can't be watched: {error}",
                project.dir.display()
            ))
        };
        let (own, own_named) = (project.clone(), named.to_vec());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !concerns(&own, &own_named, &event)) {
                return;
            }
            // Fails only when nobody waits any more.
            _ = sender.send(());
        })
        .map_err(failed)?;
        let watched = watcher.watch(&project.dir, RecursiveMode::Recursive);
        watched.map_err(failed)?;
        for folder in outside(project, named)? {
            let watched = watcher.watch(&folder, RecursiveMode::NonRecursive);
            watched.map_err(failed)?;
        }
        Ok(Self {
            known: contents(project, named)?,
            named: named.to_vec(),
            has_tool: tool(project).is_some(),
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
            let until = Instant::now() + QUIET_MAX;
            while self.signals.recv_timeout(QUIET).is_ok() && Instant::now() < until {}
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
        let now = contents(&self.project, &self.named)?;
        let differs = |path: &&PathBuf| self.known.get(*path) != now.get(*path);
        let mut changed: Vec<PathBuf> = self
            .known
            .keys()
            .chain(now.keys())
            .filter(differs)
            .cloned()
            .collect();
        let tool = tool(&self.project);
        let is_installed = tool.is_some();
        changed.extend(tool.filter(|_| !self.has_tool));
        self.has_tool = is_installed;
        changed.sort_unstable();
        changed.dedup();
        self.known = now;
        Ok(changed)
    }
}

/// Whether an event may be a change of a watched file: reading is none, and neither is what builds and
/// the host of `quipu dev` write all the time.
fn concerns(project: &Project, named: &[PathBuf], event: &Event) -> bool {
    if event.kind.is_access() {
        return false;
    }
    let may_differ = |path: &PathBuf| {
        // Whether it is the same file, its contents show.
        if named.iter().any(|it| it.file_name() == path.file_name()) {
            return true;
        }
        let Ok(within) = path.strip_prefix(&project.dir) else {
            return true;
        };
        if is_of_tool(within) {
            return true;
        }
        // A folder that came or went had files.
        !within.ancestors().any(Project::is_written_by_builds)
            && (project.watches(path) || !path.is_file())
    };
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(may_differ)
}

/// The last file that the installation of the build tool writes, if it is installed in the project.
fn tool(project: &Project) -> Option<PathBuf> {
    match project.language {
        _ if project.build.is_some() => None,
        Language::Rust => None,
        Language::TypeScript | Language::JavaScript => {
            let tool = project.dir.join("node_modules/.bin/quipu-guest");
            tool.exists().then_some(tool)
        }
        Language::Python => {
            let dir = Pattern::escape(&project.dir.display().to_string());
            let lib = if cfg!(windows) { "Lib" } else { "lib/*" };
            let package = "site-packages/quipu_guest-*.dist-info/RECORD";
            let mut found = glob::glob(&format!("{dir}/.venv/{lib}/{package}")).ok()?;
            found.find_map(Result::ok)
        }
    }
}

/// Whether a path in the project is written when its build tool is installed, of which npm and pip
/// write a few of thousands.
fn is_of_tool(within: &Path) -> bool {
    let is_in = |folder: &str| within.starts_with(folder);
    let is_called = |path: &Path, of: fn(&str) -> bool| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(of)
    };
    let of_npm = |name: &str| {
        matches!(
            name,
            "node_modules" | ".bin" | "quipu-guest" | ".package-lock.json"
        )
    };
    let of_pip = |name: &str| name.starts_with("quipu_guest");
    is_in("node_modules") && is_called(within, of_npm)
        || is_in(".venv") && within.ancestors().take(2).any(|it| is_called(it, of_pip))
}

/// The folders of named files that are not in the project.
fn outside(project: &Project, named: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Error> {
    let whole = |path: &Path| path.canonicalize().map_err(Error::io(path));
    let own = whole(&project.dir)?;
    let mut folders = BTreeSet::new();
    for file in named {
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
        folders.insert(whole(folder.unwrap_or(Path::new(".")))?);
    }
    folders.retain(|folder| !folder.starts_with(&own));
    Ok(folders)
}

/// The contents of every watched file.
fn contents(project: &Project, named: &[PathBuf]) -> Result<BTreeMap<PathBuf, Digest>, Error> {
    let mut files = BTreeMap::new();
    collect(project, &project.dir, &mut files)?;
    for path in named {
        if let Ok(bytes) = std::fs::read(path) {
            files.insert(path.clone(), Digest::of(&bytes));
        }
    }
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
    use std::sync::mpsc::RecvTimeoutError;

    use super::*;

    /// The development store, a log file and readers are busy while somebody edits.
    #[test]
    fn a_change_is_noticed_while_other_files_are_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |file: &str| dir.path().join(file);
        std::fs::write(
            path("quipu.toml"),
            "name = \"bank\"\nlanguage = \"python\"\n",
        )
        .unwrap();
        std::fs::write(path("app.py"), "1").unwrap();
        std::fs::create_dir(path(".quipu")).unwrap();
        let project = Project::read(dir.path()).unwrap();
        let mut watch = Watch::new(&project).unwrap();
        let (done, is_done) = channel::<()>();
        let busy = [path(".quipu/dev.db-wal"), path("dev.log"), path("app.py")];
        let writing = std::thread::spawn(move || {
            while is_done.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
                std::fs::write(&busy[0], "x").unwrap();
                std::fs::write(&busy[1], "x").unwrap();
                std::fs::read(&busy[2]).unwrap();
            }
        });
        std::fs::write(path("app.py"), "2").unwrap();
        assert_eq!(watch.wait().unwrap(), [path("app.py")]);
        // Nothing of that wakes it.
        while watch.signals.recv_timeout(QUIET).is_ok() {}
        assert!(watch.signals.recv_timeout(3 * QUIET).is_err());
        done.send(()).unwrap();
        writing.join().unwrap();
    }

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

    #[test]
    fn files_that_are_named_are_watched_wherever_they_are() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let manifest = "name = \"bank\"\nlanguage = \"python\"\n";
        std::fs::write(dir.path().join("quipu.toml"), manifest).unwrap();
        std::fs::create_dir(dir.path().join("build")).unwrap();
        let project = Project::read(dir.path()).unwrap();
        let named = [
            dir.path().join("build/bank.wasm"),
            dir.path().join("mine.yaml"),
            other.path().join("theirs.yaml"),
        ];
        let mut watch = Watch::also(&project, &named).unwrap();
        for path in &named {
            std::fs::write(path, "1").unwrap();
            assert_eq!(watch.wait().unwrap(), std::slice::from_ref(path));
            std::fs::remove_file(path).unwrap();
            assert_eq!(watch.wait().unwrap(), std::slice::from_ref(path));
        }
    }

    #[test]
    fn an_installation_of_the_build_tool_is_noticed_once() {
        for (language, file, other) in [
            (
                "javascript",
                "node_modules/.bin/quipu-guest",
                "node_modules/esbuild/index.js",
            ),
            (
                "python",
                ".venv/lib/python3.13/site-packages/quipu_guest-0.1.0.dist-info/RECORD",
                ".venv/lib/python3.13/site-packages/wheel/RECORD",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let write = |file: &str, text: &str| {
                let path = dir.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, text).unwrap();
                path
            };
            let manifest = format!("name = \"bank\"\nlanguage = \"{language}\"\n");
            write("quipu.toml", &manifest);
            let project = Project::read(dir.path()).unwrap();
            let mut watch = Watch::new(&project).unwrap();
            write(other, "1");
            assert_eq!(watch.changed().unwrap(), [""; 0].map(PathBuf::from));
            let tool = write(file, "1");
            assert_eq!(watch.changed().unwrap(), [tool]);
            write(file, "2");
            assert_eq!(watch.changed().unwrap(), [""; 0].map(PathBuf::from));
            assert!(is_of_tool(Path::new(file)), "{file}");
            assert!(!is_of_tool(Path::new(other)), "{other}");
        }
    }
}
