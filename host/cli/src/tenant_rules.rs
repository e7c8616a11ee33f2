//! The rules of tenants: who is known besides the holders of tokens, what a policy says, whose modules
//! are accepted, and how much is used at most. Each tenant has a folder with its name.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::config::{AccessFiles, TenantFile, TlsFiles};
use super::exit::WrongUse;
use super::rules;
use super::tls::read_small;
use quipu::deploy::Signing;
use quipu::model::{PublicKey, text_without_mark};
use quipu_server::{InForce, Rules, TenantLimiter};

/// The rules of the tenants that are open, and where they come from.
pub struct TenantRules {
    folder: Option<PathBuf>,
    tls: TlsFiles,
    /// The keys of the main store, which also apply in tenants without a file.
    signing: Signing,
    open: Mutex<HashMap<String, Opened>>,
}

/// What is in force in a tenant that is open.
struct Opened {
    rules: Weak<Rules>,
    signing: Signing,
    limiter: TenantLimiter,
    own: OwnFiles,
    /// The share with which it was opened.
    share: Option<usize>,
}

/// The files of a tenant that replace values of the configuration.
struct OwnFiles {
    keys: Option<Vec<PublicKey>>,
    limits: TenantFile,
}

/// What a tenant is opened with.
pub struct TenantFiles {
    /// Its rules, which a reload replaces.
    pub rules: Arc<Rules>,
    /// The keys that it accepts, which a reload replaces.
    pub signing: Signing,
    /// Its share, if it has one of its own.
    pub share: Option<usize>,
}

/// What the files of open tenants say now. No tenant is opened before it applies or is dropped.
pub struct Reread<'a> {
    open: MutexGuard<'a, HashMap<String, Opened>>,
    tenants: Vec<RereadTenant>,
}

/// What the files of one tenant say now.
struct RereadTenant {
    name: String,
    rules: Arc<Rules>,
    read: InForce,
    own: OwnFiles,
}

impl TenantRules {
    /// Rules in a folder. Without it no tenant has any.
    pub fn new(folder: Option<PathBuf>, tls: TlsFiles, signing: Signing) -> Self {
        Self {
            folder,
            tls,
            signing,
            open: Mutex::default(),
        }
    }

    /// Whether there is a folder.
    pub fn has_folder(&self) -> bool {
        self.folder.is_some()
    }

    /// Reads the files of a tenant that is being opened, and keeps what they say up to date.
    ///
    /// # Errors
    /// When a file can't be read, or something in it is wrong.
    pub fn open(&self, tenant: &str, limiter: TenantLimiter) -> Result<TenantFiles, WrongUse> {
        // Before the files are read: a reload in between would miss this tenant.
        let mut open = self.opened();
        let read = self.read(tenant, &self.tls, None)?;
        let own = self.own(tenant)?;
        let (keys, share) = (own.keys.clone(), own.limits.share);
        let signing = Signing::by(keys.unwrap_or_else(|| self.signing.keys().to_vec()));
        limiter.replace(own.limits.limits);
        let rules = Arc::new(Rules::new(read));
        let opened = Opened {
            rules: Arc::downgrade(&rules),
            signing: signing.clone(),
            limiter,
            own,
            share,
        };
        open.retain(|_, opened| opened.rules.strong_count() > 0);
        open.insert(tenant.to_owned(), opened);
        Ok(TenantFiles {
            rules,
            signing,
            share,
        })
    }

    /// Reads the files of all open tenants a second time. The keys are those of the main store from
    /// now on.
    ///
    /// # Errors
    /// When something is wrong with one of them.
    pub fn read_again(&self, tls: &TlsFiles, keys: &[PublicKey]) -> Result<Reread<'_>, WrongUse> {
        let open = self.opened();
        let mut tenants = Vec::new();
        for (name, opened) in open.iter() {
            let Some(rules) = opened.rules.upgrade() else {
                continue;
            };
            let in_force = rules.current();
            let read = self.read(name, tls, Some(&in_force))?;
            rules::check_replaced(&in_force, &read, &section(name))?;
            let own = self.own(name)?;
            let accepted = own.keys.as_deref().unwrap_or(keys);
            rules::check_keys_replaced(&opened.signing.keys(), accepted, &section(name))?;
            tenants.push(RereadTenant {
                name: name.clone(),
                rules,
                read,
                own,
            });
        }
        Ok(Reread { open, tenants })
    }

    /// The files of a tenant that replace values of the configuration.
    fn own(&self, tenant: &str) -> Result<OwnFiles, WrongUse> {
        Ok(OwnFiles {
            keys: self.keys(tenant)?,
            limits: self.limits(tenant)?,
        })
    }

    /// The keys whose modules a tenant accepts; none if it has no file, and those of the host apply.
    fn keys(&self, tenant: &str) -> Result<Option<Vec<PublicKey>>, WrongUse> {
        let place = format!("{}keys: ", section(tenant));
        let Some((path, text)) = self.text(tenant, "keys.txt", &place)? else {
            return Ok(None);
        };
        let wrong = |why: &str| WrongUse(format!("{place}{}: {why}", path.display()));
        let lines = text.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<PublicKey>, _> = keys.map(str::parse).collect();
        let keys = keys.map_err(|error| wrong(&error.to_string()))?;
        match keys.is_empty() {
            // An empty file must not mean that everything is accepted.
            true => Err(wrong("it has no key; delete it to use those of the host")),
            false => Ok(Some(keys)),
        }
    }

    /// The limits that a tenant has of its own; none if it has no file.
    fn limits(&self, tenant: &str) -> Result<TenantFile, WrongUse> {
        let place = format!("{}limits: ", section(tenant));
        let Some((path, text)) = self.text(tenant, "limits.toml", &place)? else {
            return Ok(TenantFile::default());
        };
        TenantFile::parse(&path, &text).map_err(|problems| {
            let problems = problems.iter().map(|problem| format!("{place}{problem}"));
            WrongUse(problems.collect::<Vec<_>>().join("\n"))
        })
    }

    /// A file of a tenant and its text; none if it does not exist. The place is how an error begins.
    fn text(
        &self,
        tenant: &str,
        name: &str,
        place: &str,
    ) -> Result<Option<(PathBuf, String)>, WrongUse> {
        let Some(path) = self.existing(tenant, name)? else {
            return Ok(None);
        };
        let bytes = read_small(&path).map_err(|why| WrongUse(format!("{place}{why}")))?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some((path, text_without_mark(&text).to_owned()))),
            Err(_) => Err(WrongUse(format!(
                "{place}{}: it is not UTF-8",
                path.display()
            ))),
        }
    }

    /// Reads the files of every tenant that has a folder.
    ///
    /// # Errors
    /// When the folder can't be read, or something in it is wrong.
    pub fn check_all(&self) -> Result<(), WrongUse> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let wrong =
            |error: io::Error| WrongUse(format!("tenants.rules: {}: {error}", folder.display()));
        for entry in folder.read_dir().map_err(wrong)? {
            let name = entry.map_err(wrong)?.file_name();
            if let Some(tenant) = name.to_str()
                && folder.join(tenant).is_dir()
            {
                self.read(tenant, &self.tls, None)?;
                self.own(tenant)?;
            }
        }
        Ok(())
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(
        &self,
        tenant: &str,
        tls: &TlsFiles,
        before: Option<&InForce>,
    ) -> Result<InForce, WrongUse> {
        let files = AccessFiles {
            identities: self.existing(tenant, "identities.toml")?,
            policy: self.existing(tenant, "policy.cedar")?,
        };
        let section = section(tenant);
        let read = rules::read(&files, &section, before)?;
        rules::check(&read, &section, tls)?;
        Ok(read)
    }

    /// The path of a file of a tenant; none if it does not exist.
    fn existing(&self, tenant: &str, name: &str) -> Result<Option<PathBuf>, WrongUse> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        // A folder that is missing as a whole is a mistake, or is not mounted.
        let path = folder.join(tenant).join(name);
        let found = folder.metadata().and_then(|_| match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(|_| Some(path.clone())),
        });
        found.map_err(|error| {
            let section = section(tenant);
            WrongUse(format!("{section}{}: {error}", path.display()))
        })
    }
}

impl Reread<'_> {
    /// Puts into force what has changed: says so in `changed`, and names in `restart` the shares that
    /// apply when their tenants are opened next.
    pub fn apply(self, keys: &[PublicKey], changed: &mut Vec<String>, restart: &mut Vec<String>) {
        let Self {
            mut open,
            mut tenants,
        } = self;
        tenants.sort_by(|one, other| one.name.cmp(&other.name));
        let mut has_changed = false;
        for tenant in tenants {
            let Some(opened) = open.get_mut(&tenant.name) else {
                continue;
            };
            if !tenant.rules.current().is_same(&tenant.read) {
                tenant.rules.replace(tenant.read);
                has_changed = true;
            }
            let (before, now) = (&opened.own, &tenant.own);
            has_changed |= before.keys != now.keys || before.limits.limits != now.limits.limits;
            opened.own = tenant.own;
            opened.limiter.replace(opened.own.limits.limits);
            let accepted = opened.own.keys.as_deref().unwrap_or(keys);
            opened.signing.replace(accepted);
            if opened.own.limits.share != opened.share {
                restart.push(format!("tenants.rules.{}.share", tenant.name));
            }
        }
        if has_changed {
            changed.push("tenants.rules".to_owned());
        }
    }
}

/// How errors about the rules of a tenant begin.
fn section(tenant: &str) -> String {
    format!("tenants.rules: {tenant}: ")
}
