//! The user that runs the server: PostgreSQL refuses to run as root.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A user other than root.
#[derive(Debug, Clone, Copy)]
pub struct User {
    id: u32,
    group: u32,
}

impl User {
    /// `postgres`, otherwise `nobody`, if we are root; none for users who can run the server
    /// themselves.
    pub fn other() -> Option<Self> {
        let own = std::fs::metadata("/proc/self").map_or(1, |it| it.uid());
        if own != 0 {
            return None;
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let found = ["postgres", "nobody"].map(|name| Self::of(&users, name));
        let found = found.into_iter().flatten().next();
        Some(found.expect("root needs a user `postgres` or `nobody` to run PostgreSQL"))
    }

    fn of(users: &str, name: &str) -> Option<Self> {
        let mut lines = users.lines().map(|line| line.split(':'));
        let mut line = lines.find(|line| line.clone().next() == Some(name))?;
        let (id, group) = (line.nth(2)?, line.next()?);
        Some(Self {
            id: id.parse().ok()?,
            group: group.parse().ok()?,
        })
    }

    /// Makes `command` run as this user.
    pub fn run(self, command: &mut Command) {
        command.uid(self.id).gid(self.group);
    }

    /// Gives a file to this user.
    pub fn own(self, path: &Path) {
        chown(path, Some(self.id), Some(self.group)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_read_from_the_list_of_users() {
        let users = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        let nobody = User::of(users, "nobody").unwrap();
        assert_eq!((nobody.id, nobody.group), (65534, 65533));
        assert!(User::of(users, "postgres").is_none());
        assert!(User::of("nobody:x", "nobody").is_none());
    }
}
