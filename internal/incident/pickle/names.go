package pickle

import "strings"

// Name is something that a reader that runs pickles would look up.
type Name struct {
	Module, Name string // Module is "" for what is no name: extension codes, persistent ids
	Count        int
	Offset       int64 // of the first use
}

// Texts of names that are none.
const (
	persistentID  = "persistent id"
	extensionCode = "extension code "
)

func (n Name) String() string {
	if n.Name == "" {
		return n.Module
	}
	return n.Module + "." + n.Name
}

// Dotted says that the name is a path through attributes.
func (n Name) Dotted() bool { return strings.Contains(n.Name, ".") }

// name counts a use of a name and returns its place in Globals.
func (m *machine) name(module, name string) (uint32, *Error) {
	if m.protocol < 3 {
		module, name = python3(module, name)
	}
	key := module + "\n" + name
	if i, ok := m.globals[key]; ok {
		m.Globals[i].Count++
		return i, nil
	}
	if len(m.Globals) >= maxGlobals {
		return 0, m.limit("more than %d different names", maxGlobals)
	}
	i := uint32(len(m.Globals))
	m.globals[key] = i
	m.Globals = append(m.Globals, Name{Module: key[:len(module)], Name: key[len(module)+1:], Count: 1, Offset: int64(m.at)})
	return i, nil
}

func (m *machine) twoLines() (Value, *Error) {
	module, err := m.line()
	if err != nil {
		return 0, err
	}
	name, err := m.line()
	if err != nil {
		return 0, err
	}
	if len(module)+len(name) > maxName {
		return 0, m.limit("a name of %d bytes; the limit is %d", len(module)+len(name), maxName)
	}
	i, err := m.name(string(module), string(name))
	return handle(Global, formInline, uint64(i)), err
}

const maxName = 4096 // bytes of module and name

func (m *machine) global() *Error {
	v, err := m.twoLines()
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) stackGlobal() *Error {
	name, err := m.pop()
	if err != nil {
		return err
	}
	module, err := m.pop()
	if err != nil {
		return err
	}
	a, okA := m.RawText(module)
	b, okB := m.RawText(name)
	if !okA || !okB {
		return m.fail("module and name are a %s and a %s; two texts are expected", module.Kind(), name.Kind())
	}
	if len(a)+len(b) > maxName {
		return m.limit("a name of %d bytes; the limit is %d", len(a)+len(b), maxName)
	}
	i, err := m.name(string(a), string(b))
	if err != nil {
		return err
	}
	return m.push(handle(Global, formInline, uint64(i)))
}

// NameOf is the name that a Global stands for, or the callee of an Object.
func (d *Document) NameOf(v Value) (Name, bool) {
	if v.Kind() == Object {
		v = d.slot(v, slotCallee)
	}
	if v.Kind() != Global || v.payload() >= uint64(len(d.Globals)) {
		return Name{}, false
	}
	return d.Globals[v.payload()], true
}

// Modules and names that Python 3 has under others, after _compat_pickle.py of
// CPython 3.11 (2023-12-04), those that pickles of data or attacks name.
var (
	oldModules = map[string]string{
		"__builtin__": "builtins", "copy_reg": "copyreg", "Queue": "queue", "ConfigParser": "configparser", "cPickle": "pickle",
		"UserDict": "collections", "UserList": "collections", "UserString": "collections", "commands": "subprocess",
		"urllib2": "urllib.request", "urlparse": "urllib.parse", "httplib": "http.client", "StringIO": "io", "cStringIO": "io",
		"thread": "_thread", "dummy_thread": "_dummy_thread", "whichdb": "dbm", "anydbm": "dbm", "_winreg": "winreg", "exceptions": "builtins",
	}
	oldNames = map[string]string{
		"builtins.xrange": "builtins.range", "builtins.unicode": "builtins.str", "builtins.long": "builtins.int", "builtins.unichr": "builtins.chr",
		"builtins.intern": "sys.intern", "builtins.reduce": "functools.reduce", "builtins.raw_input": "builtins.input", "os.getcwdu": "os.getcwd",
		"itertools.izip": "builtins.zip", "itertools.imap": "builtins.map", "itertools.ifilter": "builtins.filter",
	}
)

func python3(module, name string) (string, string) {
	if to, ok := oldModules[module]; ok {
		module = to
	}
	if strings.ContainsRune(name, '.') {
		return module, name
	}
	if to, ok := oldNames[module+"."+name]; ok {
		i := strings.LastIndexByte(to, '.')
		return to[:i], to[i+1:]
	}
	return module, name
}

// plain are the names that [Document.Plain] knows how to read as values.
var plain = words(`
builtins.set builtins.frozenset builtins.bytearray builtins.bytes builtins.complex builtins.range builtins.slice
builtins.list builtins.dict builtins.tuple builtins.int builtins.float builtins.str builtins.bool builtins.object
builtins.Ellipsis builtins.NotImplemented builtins.NoneType
_codecs.encode copyreg._reconstructor copyreg.__newobj__ copyreg.__newobj_ex__
collections.OrderedDict collections.defaultdict collections.deque collections.Counter
datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone
decimal.Decimal fractions.Fraction uuid.UUID uuid.SafeUUID types.SimpleNamespace pathlib.PosixPath pathlib.PurePosixPath
array.array array._array_reconstructor msgspec._utils.rebuild
numpy.ndarray numpy.dtype
numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy.core.numeric._frombuffer
numpy._core.multiarray._reconstruct numpy._core.multiarray.scalar numpy._core.numeric._frombuffer
torch._utils._rebuild_tensor_v2 torch.storage._load_from_bytes torch.device torch.Size
`)

// hostileModules run code, or reach what does, under every name in them.
var hostileModules = words(`
os posix nt ntpath posixpath subprocess sys shutil socket importlib runpy pty code codeop ctypes webbrowser _posixsubprocess
pickle _pickle cloudpickle dill marshal imp zipimport pkgutil pip multiprocessing threading _thread asyncio signal inspect gc
platform tempfile timeit pdb bdb cProfile profile trace doctest distutils setuptools http urllib ftplib smtplib telnetlib
requests operator functools types.FunctionType linecache pydoc commands fcntl resource mmap
`)

var hostileBuiltins = words(`
eval exec execfile compile getattr setattr delattr hasattr __import__ open globals locals vars input breakpoint memoryview
apply map filter exit quit help print dir type super property classmethod staticmethod __build_class__ file
`)

func words(s string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(s) {
		out[w] = true
	}
	return out
}

// Plainly says that the name stands for a value that this reader understands.
func (n Name) Plainly() bool { return plain[n.String()] }

// Hostile says why no data has that name; "" = it may be data.
func (n Name) Hostile() string {
	full := n.String()
	root, _, _ := strings.Cut(n.Module, ".")
	switch {
	case plain[full] || n.Name == "":
		return ""
	case n.Dotted():
		return "a path through attributes"
	case n.Module == "builtins" && hostileBuiltins[n.Name]:
		return "a builtin that runs or reaches code"
	case hostileModules[root] || hostileModules[full]:
		return "a module that runs or reaches code"
	}
	return ""
}
