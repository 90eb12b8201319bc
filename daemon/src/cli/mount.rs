//! `keelhold mount`: a point as a read-only file system, served by this process for as long as it
//! runs. It asks the daemon for every entry and every stretch of bytes, so what it shows is proved
//! like any other read.

use super::Context;
use super::args::Mount;
use super::client::Client;
use crate::api::address::Address;
use crate::api::types::{FileEntry, PointDetails};
use crate::failure::{Code, Exit, Failure, chain};
use data_encoding::HEXLOWER;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyXattr, Request,
};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;

/// A point never changes: the kernel may remember for long.
const REMEMBER: Duration = Duration::from_secs(3600);
/// Entries the daemon gives at once.
const PAGE: usize = 1024;

pub async fn run(context: &Context, args: Mount) -> Result<Exit, Failure> {
    let mut client = context.client().await?;
    let address = Address::new("/points").segment(args.point.as_bytes());
    let point: PointDetails = client.get(&address).await?;
    let id = point.point.id;
    let tree = Tree::open(client, &id).await?;
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::DefaultPermissions,
        MountOption::FSName(format!("keelhold:{id}")),
        MountOption::Subtype(String::from("keelhold")),
    ];
    let failed = |error: std::io::Error| {
        let text = format!("{}: {}", args.dir.display(), chain(&error));
        Failure::new(Code::MountFailed, text)
    };
    let session = fuser::spawn_mount(tree, &args.dir, &config).map_err(failed)?;
    eprintln!("{id} of {} is at {}; Ctrl-C ends it", point.point.source, args.dir.display());
    wait_for_end(&args.dir).await;
    tokio::task::spawn_blocking(move || session.umount_and_join())
        .await
        .map_err(|error| Failure::of(Code::Internal, &error))?
        .map_err(failed)?;
    Ok(Exit::Ok)
}

struct Node {
    path: Vec<u8>,
    attr: FileAttr,
    target: Option<Vec<u8>>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Default)]
struct Nodes {
    by_number: Vec<Node>,
    by_path: HashMap<Vec<u8>, u64>,
    /// One number for all names of a file.
    by_group: HashMap<String, u64>,
}

struct Tree {
    nodes: Mutex<Nodes>,
    client: Mutex<Client>,
    runtime: Handle,
    point: String,
}

fn path_of(entry: &FileEntry) -> Vec<u8> {
    let hex = entry.path_hex.as_ref().and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
    hex.unwrap_or_else(|| entry.path.clone().into_bytes())
}

fn kind(entry: &FileEntry) -> FileType {
    match entry.kind.as_str() {
        "directory" => FileType::Directory,
        "symlink" => FileType::Symlink,
        "fifo" => FileType::NamedPipe,
        "socket" => FileType::Socket,
        "char-device" => FileType::CharDevice,
        "block-device" => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

fn time(entry: &FileEntry) -> SystemTime {
    entry.mtime.parse::<jiff::Timestamp>().map_or(UNIX_EPOCH, SystemTime::from)
}

fn attr(entry: &FileEntry, number: u64) -> FileAttr {
    let mtime = time(entry);
    let (major, minor) = entry.device.unwrap_or_default();
    FileAttr {
        ino: INodeNo(number),
        size: entry.size,
        blocks: entry.size.div_ceil(512),
        atime: mtime,
        mtime,
        ctime: mtime,
        crtime: mtime,
        kind: kind(entry),
        perm: entry.mode,
        nlink: 1,
        uid: entry.uid,
        gid: entry.gid,
        rdev: u32::try_from(rustix::fs::makedev(major, minor)).unwrap_or(0),
        blksize: 4096,
        flags: 0,
    }
}

impl Nodes {
    /// The number of an entry, given when it is met first.
    fn number(&mut self, entry: &FileEntry) -> u64 {
        let path = path_of(entry);
        if let Some(number) = self.by_path.get(&path) {
            return *number;
        }
        if let Some(number) = entry.link_group.as_ref().and_then(|group| self.by_group.get(group)) {
            let number = *number;
            self.by_path.insert(path, number);
            return number;
        }
        let number = self.by_number.len() as u64 + 1;
        let xattrs = entry.xattrs.iter().filter_map(|xattr| {
            let value = HEXLOWER.decode(xattr.value_hex.as_bytes()).ok()?;
            Some((HEXLOWER.decode(xattr.name_hex.as_bytes()).ok()?, value))
        });
        let target = entry.target_hex.as_ref();
        let target = target.and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok());
        let target = target.or_else(|| entry.target.clone().map(String::into_bytes));
        let (attr, xattrs) = (attr(entry, number), xattrs.collect());
        self.by_number.push(Node { path: path.clone(), attr, target, xattrs });
        self.by_path.insert(path, number);
        if let Some(group) = &entry.link_group {
            self.by_group.insert(group.clone(), number);
        }
        number
    }

    fn known(&self, path: &[u8]) -> Option<FileAttr> {
        let number = self.by_path.get(path)?;
        self.node(INodeNo(*number)).map(|node| node.attr)
    }

    fn node(&self, number: INodeNo) -> Option<&Node> {
        self.by_number.get(usize::try_from(number.0.checked_sub(1)?).ok()?)
    }
}

impl Tree {
    async fn open(mut client: Client, point: &str) -> Result<Self, Failure> {
        let address = Address::new("/points").segment(point.as_bytes()).segment(b"entries");
        let address = address.query("path", b"").query("self", b"");
        let root: Vec<FileEntry> = client.get(&address).await?;
        let mut nodes = Nodes::default();
        root.iter().for_each(|entry| {
            nodes.number(entry);
        });
        Ok(Self {
            nodes: Mutex::new(nodes),
            client: Mutex::new(client),
            runtime: Handle::current(),
            point: point.to_owned(),
        })
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn address(&self, what: &[u8]) -> Address {
        Address::new("/points").segment(self.point.as_bytes()).segment(what)
    }

    fn entries(&self, address: &Address) -> Result<Vec<FileEntry>, Errno> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(client.get(address)).map_err(|failure| errno(&failure))
    }

    fn path(&self, number: INodeNo) -> Result<Vec<u8>, Errno> {
        self.nodes().node(number).map(|node| node.path.clone()).ok_or(Errno::ENOENT)
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Result<FileAttr, Errno> {
        let mut path = self.path(parent)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        if let Some(attr) = self.nodes().known(&path) {
            return Ok(attr);
        }
        let address = self.address(b"entries").query("path", &path).query("self", b"");
        let found = self.entries(&address)?;
        let entry = found.first().ok_or(Errno::ENOENT)?;
        let mut nodes = self.nodes();
        let number = nodes.number(entry);
        nodes.node(INodeNo(number)).map(|node| node.attr).ok_or(Errno::ENOENT)
    }

    fn bytes(&self, number: INodeNo, offset: u64, len: u32) -> Result<Vec<u8>, Errno> {
        let path = self.path(number)?;
        let address = self
            .address(b"content")
            .query("path", &path)
            .query("offset", offset.to_string().as_bytes())
            .query("len", len.to_string().as_bytes());
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let read = async {
            let (mut body, mut bytes) = (client.body(&address).await?, Vec::new());
            while let Some(more) = body.next().await? {
                bytes.extend_from_slice(&more);
            }
            Ok(bytes)
        };
        self.runtime.block_on(read).map_err(|failure: Failure| errno(&failure))
    }
}

fn errno(failure: &Failure) -> Errno {
    match failure.code {
        Code::PathUnknown | Code::PointUnknown => Errno::ENOENT,
        Code::NotAFile => Errno::EISDIR,
        _ => Errno::EIO,
    }
}

impl Filesystem for Tree {
    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name) {
            Ok(attr) => reply.entry(&REMEMBER, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.nodes().node(ino) {
            Some(node) => reply.attr(&REMEMBER, &node.attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.nodes().node(ino).and_then(|node| node.target.clone()) {
            Some(target) => reply.data(&target),
            None => reply.error(Errno::EINVAL),
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.bytes(ino, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    /// Offsets count entries: 1 and 2 are `.` and `..`.
    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.path(ino).and_then(|path| self.list(&path));
        let entries = match listed {
            Ok(entries) => entries,
            Err(errno) => return reply.error(errno),
        };
        let own = [".", ".."].map(|name| (ino.0, FileType::Directory, OsString::from(name)));
        let all = own.into_iter().chain(entries);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for ((number, kind, name), at) in all.zip(1u64..).skip(from) {
            if reply.add(INodeNo(number), at, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.nodes().node(ino).map(|node| {
            node.xattrs.iter().flat_map(|(name, _)| name.iter().copied().chain([0])).collect()
        });
        reply_xattr(names.ok_or(Errno::ENOENT), size, reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let nodes = self.nodes();
        let value = nodes.node(ino).and_then(|node| {
            let mut xattrs = node.xattrs.iter();
            xattrs.find(|(of, _)| of == name.as_bytes()).map(|(_, value)| value.clone())
        });
        reply_xattr(value.ok_or(Errno::ENODATA), size, reply);
    }
}

fn reply_xattr(bytes: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match bytes {
        Err(errno) => reply.error(errno),
        Ok(bytes) => match u32::try_from(bytes.len()) {
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&bytes),
            _ => reply.error(Errno::ERANGE),
        },
    }
}

impl Tree {
    fn list(&self, path: &[u8]) -> Result<Vec<(u64, FileType, OsString)>, Errno> {
        let (mut listed, mut after) = (Vec::new(), None::<Vec<u8>>);
        loop {
            let mut address = self.address(b"entries").query("path", path);
            if let Some(after) = &after {
                address = address.query("after", after);
            }
            let page = self.entries(&address)?;
            let mut nodes = self.nodes();
            for entry in &page {
                let full = path_of(entry);
                let name = full.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
                listed.push((nodes.number(entry), kind(entry), OsString::from_vec(name.clone())));
                after = Some(name);
            }
            if page.len() < PAGE {
                return Ok(listed);
            }
        }
    }
}

/// Until Ctrl-C or SIGTERM, or until somebody unmounts it from outside.
async fn wait_for_end(dir: &std::path::Path) {
    use tokio::signal::unix::{SignalKind, signal};
    // Asked of the kernel's table: a stat of the directory would be answered by ourselves.
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mounted = || {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        let shown = dir.as_os_str().as_bytes().escape_ascii().to_string();
        // Blanks and the like are written as octal there: only the plain part is compared.
        let plain = shown.split([' ', '\\']).next().unwrap_or_default();
        let table = String::from_utf8_lossy(&table).into_owned();
        table.lines().any(|line| line.contains("keelhold:") && line.contains(plain))
    };
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return,
            _ = terminate.recv() => return,
            () = tokio::time::sleep(Duration::from_secs(2)) => {
                if !mounted() {
                    return;
                }
            }
        }
    }
}
