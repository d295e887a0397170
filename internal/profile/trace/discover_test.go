package trace

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// tree makes a folder with the named files; each is a small trace unless text is given.
func tree(t *testing.T, files ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "analysis")
	for _, f := range files {
		name, text, given := strings.Cut(f, " ")
		if !given {
			text = `{"schemaVersion": 1, "traceEvents": [{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":1,"dur":2}]}`
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b := []byte(text)
		if strings.HasSuffix(name, ".gz") {
			b = zipped(b)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// found discovers root and gives chosen files as "path stage|rank", left ones as "path: reason".
func found(t *testing.T, root string, o DiscoverOptions) (files, left []string) {
	t.Helper()
	sel, err := Discover([]string{root}, o)
	if err != nil {
		t.Fatal(err)
	}
	rel := func(p string) string { r, _ := filepath.Rel(root, p); return r }
	for _, f := range sel.Files {
		files = append(files, strings.TrimSpace(rel(f.Path)+" "+cmp.Or(f.Stage, "-")+" "+f.Rank.String()))
	}
	for _, l := range sel.Left {
		left = append(left, rel(l.Path)+": "+l.Reason)
	}
	return files, left
}

func wantFiles(t *testing.T, got []string, want ...string) {
	t.Helper()
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// wantLeft says that each left file's line has the words asked for, and that no other was left.
func wantLeft(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("left out: %q, want %d", got, len(want))
		return
	}
	for i, w := range want {
		path, words, _ := strings.Cut(w, ": ")
		if !strings.HasPrefix(got[i], path+": ") || !strings.Contains(got[i], words) {
			t.Errorf("left out: %q, want %q", got[i], w)
		}
	}
}

func TestU02FoldersAreSniffedNotParsed(t *testing.T) {
	big := `{"traceEvents":[{"ph":"X"}` + strings.Repeat(`,{"ph":"X","name":"`+strings.Repeat("x", 1000)+`"}`, 1000) + ` this is broken`
	root := tree(t, "a.json "+big, "server_args.json {\"tp_size\": 8}", "metadata.json [1,2]", "config.json {}", "notes.txt x", "odd.json not json", "empty.json.gz ")
	files, left := found(t, root, DiscoverOptions{})
	wantFiles(t, files, "a.json -")
	wantLeft(t, left, "config.json: without traceEvents", "empty.json.gz: ends or breaks off", "metadata.json: not one of events", "odd.json: begins with", "server_args.json: without traceEvents")
}

func TestU57TracesAreChosenWithoutGuessingTheEngineFromNames(t *testing.T) {
	files, left := found(t, tree(t, "a_vs_b/run.trace.json.gz"), DiscoverOptions{})
	wantFiles(t, files, "a_vs_b/run.trace.json.gz -")
	wantLeft(t, left)
}

func TestU58RanksByRankWordsFirst(t *testing.T) {
	for name, want := range map[string]string{
		"qwen-tp8-rank1.trace.json.gz":                 "rank 1",
		"rank-0.Jul_15_10_52_41.1074.pt.trace.json.gz": "rank 0",
		"rank_3.json": "rank 3",
		"dp0_pp1_tp2_dcp0_ep3_rank7.17.pt.trace.json.gz":            "rank 7 TP 2 DP 0 PP 1 EP 3",
		"1712-TP-0-DP-1-prefill.trace.json.gz":                      "TP 0 DP 1",
		"1712-DP1-CP2-TP3-DECODE.trace.json.gz":                     "TP 3 DP 1 CP 2",
		"trace.json-rank-2.gz":                                      "rank 2",
		"trace-rank-2.json":                                         "rank 2",
		"worker4.1.pt.trace.json":                                   "rank 4",
		"crank5.json":                                               "",
		"host_12345.1700000000000000000.pt.trace.json":              "",
		"graph_capture_rank_0.1773709679453551615.pt.trace.json.gz": "rank 0",
		"merged-1712.trace.json.gz":                                 "",
	} {
		if got := named(name).Rank.String(); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	files, left := found(t, tree(t, "qwen-tp8-rank0.json", "qwen-tp8-rank1.json", "qwen-tp8-rank7.json"), DiscoverOptions{})
	wantFiles(t, files, "qwen-tp8-rank0.json - rank 0")
	wantLeft(t, left, "qwen-tp8-rank1.json: rank 1; rank 0 was read", "qwen-tp8-rank7.json: rank 7; rank 0")
	files, _ = found(t, tree(t, "qwen-tp8-prefill.json", "qwen-tp8-decode.json"), DiscoverOptions{})
	wantFiles(t, files, "qwen-tp8-prefill.json prefill", "qwen-tp8-decode.json decode")
	files, _ = found(t, tree(t, "host_7.1.pt.trace.json {\"distributedInfo\":{\"rank\":1},\"traceEvents\":[{}]}", "host_8.2.pt.trace.json {\"distributedInfo\":{\"rank\":0},\"traceEvents\":[{}]}"), DiscoverOptions{AllRanks: true})
	wantFiles(t, files, "host_8.2.pt.trace.json - rank 0", "host_7.1.pt.trace.json - rank 1")
}

func TestU59NamesDecideNotTimes(t *testing.T) {
	root := tree(t, "run-9/a.json", "run-10/a.json", "run-2/a.json")
	old := time.Unix(1, 0)
	if err := os.Chtimes(filepath.Join(root, "run-10", "a.json"), old, old); err != nil {
		t.Fatal(err)
	}
	files, left := found(t, root, DiscoverOptions{})
	wantFiles(t, files, "run-10/a.json -")
	wantLeft(t, left, "run-2/a.json: the last by name", "run-9/a.json: the last by name")
	files, left = found(t, tree(t, "9-TP-0.trace.json.gz", "9-TP-1.trace.json.gz", "10-TP-0.trace.json.gz", "10-TP-1.trace.json.gz"), DiscoverOptions{AllRanks: true})
	wantFiles(t, files, "10-TP-0.trace.json.gz - TP 0", "10-TP-1.trace.json.gz - TP 1")
	wantLeft(t, left, "9-TP-0.trace.json.gz: another recording, 10,", "9-TP-1.trace.json.gz: another recording")
	files, left = found(t, tree(t, "rank0.100.pt.trace.json", "rank0.99.pt.trace.json"), DiscoverOptions{})
	wantFiles(t, files, "rank0.100.pt.trace.json - rank 0")
	wantLeft(t, left, "rank0.99.pt.trace.json: rank0.100.pt.trace.json is the last by name")
}

func TestU60EverythingLeftOutIsListed(t *testing.T) {
	root := tree(t, "1-TP-0-DP-0.trace.json.gz", "1-TP-0-DP-1.trace.json.gz", "merged-1.trace.json.gz", "2-TP-0-DP-0.trace.json.gz.tmp", "host.async_llm.17.pt.trace.json.gz", "graph_capture_profile/cuda_graph_capture-Runner-TP-0.json.gz", "old/x.json")
	files, left := found(t, root, DiscoverOptions{})
	wantFiles(t, files, "1-TP-0-DP-0.trace.json.gz - TP 0 DP 0")
	wantLeft(t, left,
		"1-TP-0-DP-1.trace.json.gz: TP 0 DP 1; TP 0 DP 0 was read", "2-TP-0-DP-0.trace.json.gz.tmp: has died",
		"graph_capture_profile/cuda_graph_capture-Runner-TP-0.json.gz: mapping trace", "host.async_llm.17.pt.trace.json.gz: API server",
		"merged-1.trace.json.gz: ranks are there too", "old/x.json: traces of its own")
	files, _ = found(t, root, DiscoverOptions{AllRanks: true})
	wantFiles(t, files, "1-TP-0-DP-0.trace.json.gz - TP 0 DP 0", "1-TP-0-DP-1.trace.json.gz - TP 0 DP 1")
}

func TestU61AFolderIsNeverAnsweredFromItsParent(t *testing.T) {
	root := tree(t, "server_args.json {}", "child/a.json")
	sel, err := Discover([]string{filepath.Join(root, "child")}, DiscoverOptions{})
	if err != nil || len(sel.Files) != 1 || len(sel.Left) != 0 {
		t.Errorf("%+v %v", sel, err)
	}
}

func TestU25StagesAreExactWordsOfThePath(t *testing.T) {
	for path, want := range map[string]string{
		"x/prefill/a.json": "prefill", "x/Decode/a.json": "decode", "runs/extend/tp0/a.json": "prefill", "qwen-decode/a.json": "decode",
		"engine_prefilldecode/a.json": "", "model-decoder/a.json": "", "pd-prefill-vs-decode/decode/a.json": "decode", "pd-prefill-vs-decode/a.json": "",
		"decode/1-TP-0-prefill.trace.json.gz": "prefill", "1-TP-0-EXTEND.trace.json.gz": "prefill", "1-TP-0-DECODE.trace.json.gz": "decode", "a/prefiller.json": "",
	} {
		if got := pathStage(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	files, left := found(t, tree(t, "decode/b.json", "prefill/a.json", "other/c.json"), DiscoverOptions{})
	wantFiles(t, files, "prefill/a.json prefill", "decode/b.json decode")
	wantLeft(t, left, "other/c.json: names no stage")
}

func TestAFolderOfOneKindIsReadAllTheSame(t *testing.T) {
	files, _ := found(t, tree(t, "merged-5.trace.json.gz"), DiscoverOptions{})
	wantFiles(t, files, "merged-5.trace.json.gz -")
	sel, err := Discover([]string{tree(t, "graph_capture_rank_0.1.pt.trace.json.gz")}, DiscoverOptions{})
	if err != nil || len(sel.Files) != 1 || sel.Files[0].Kind != KindCapture {
		t.Errorf("%+v %v", sel, err)
	}
	_, err = Discover([]string{tree(t, "a.json {}", "b.json.tmp")}, DiscoverOptions{})
	var none *NoTraceError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "has died") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
	if _, err := Discover([]string{filepath.Join(t.TempDir(), "no")}, DiscoverOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Discover([]string{tree(t, "a.json", "b.json", "c.json")}, DiscoverOptions{MaxFiles: 2}); err == nil || !strings.Contains(err.Error(), "more than 2 files") {
		t.Errorf("%v", err)
	}
	root := tree(t, "a.json", "a.json.tmp")
	sel, err = Discover([]string{filepath.Join(root, "a.json"), "-"}, DiscoverOptions{})
	if err != nil || len(sel.Files) != 2 || len(sel.Left) != 1 {
		t.Errorf("%+v %v", sel, err)
	}
}

func TestNaturalOrderIsAnOrder(t *testing.T) {
	names := []string{"", "a", "a1", "a01", "a2", "a10", "a10b", "b", "10", "9", "a-1", "a_1"}
	slices.SortFunc(names, natural)
	for i := range names {
		for j := range names {
			if c := natural(names[i], names[j]); (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("%q and %q: %d at %d and %d", names[i], names[j], c, i, j)
			}
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"1-TP-0-DP-1-prefill.trace.json.gz", "dp0_pp0_tp0_rank0.1.pt.trace.json", "decode/x-tp99999999999", "..", "/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		file := named(path)
		if file.Rank.compare(file.Rank) != 0 || natural(path, path) != 0 {
			t.Error("a name differs from itself")
		}
		switch pathStage(path) {
		case "", "prefill", "decode":
		default:
			t.Errorf("stage %q", pathStage(path))
		}
		_ = candidate(path)
		_ = runName(file)
	})
}

func FuzzText(f *testing.F) {
	f.Add(sampleText)
	f.Add("kernel 1 2 x a=[1,{\"b\":2}] c=\"d\"")
	f.Fuzz(func(t *testing.T, text string) {
		doc, err := TextJSON(text)
		if err != nil {
			return
		}
		tr, err := read(doc, Options{Args: ArgsAll})
		if err != nil || tr.Break != nil {
			t.Fatalf("%q gave %s: %v", text, doc, err)
		}
		if _, err := oracleOf(doc); err != nil {
			t.Fatalf("%q gave no JSON: %v\n%s", text, err, doc)
		}
	})
}
