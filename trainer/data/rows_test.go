package data

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vkdomino/internal/fail"
)

// numbers is a file with the numbers from 1 to n, a line each.
func numbers(t *testing.T, n int) string {
	t.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "%d\n", i+1)
	}
	return writeFile(t, "numbers.jsonl", text.String())
}

// jumbled takes longer for some rows than for those behind them, and refuses those that bad names.
func jumbled(bad ...int) func([]byte) (int, error) {
	return func(raw []byte) (int, error) {
		n, err := strconv.Atoi(string(raw))
		if n%7 == 1 {
			time.Sleep(time.Millisecond)
		}
		for _, b := range bad {
			if n == b {
				return 0, fmt.Errorf("bad %d", b)
			}
		}
		return n, err
	}
}

// Rows arrive in the order of the lines however long each takes, and of several errors the first counts.
func TestEachRowKeepsTheOrder(t *testing.T) {
	path, shares := numbers(t, 500), []float64{}
	opt := Options{Path: path, Progress: func(of string, rows int, share float64) {
		require.Equal(t, path, of)
		shares = append(shares, share)
		require.Len(t, shares, rows)
	}}
	next := 1
	take := func(line int, raw []byte, n int) error {
		require.Equal(t, []int{next, next}, []int{line, n})
		require.Equal(t, strconv.Itoa(n), string(raw))
		next++
		return nil
	}
	whole, err := eachRow(t.Context(), opt, -1, jumbled(), take)
	require.NoError(t, err)
	require.Equal(t, 501, next)
	require.IsNonDecreasing(t, shares)
	require.Equal(t, 1.0, shares[499])
	next, shares = 1, nil
	part, err := eachRow(t.Context(), opt, 20, jumbled(21), take)
	require.NoError(t, err)
	require.Equal(t, whole, part, "the digest is of the whole file")
	require.Equal(t, 21, next)

	next, opt.Progress = 1, nil
	_, err = eachRow(t.Context(), opt, -1, jumbled(45, 43, 44), take)
	require.EqualError(t, err, "data: "+path+":43: bad 43")
	require.Equal(t, fail.Other, fail.CodeOf(err))
	require.Equal(t, 43, next)
	_, err = eachRow(t.Context(), opt, -1, jumbled(3), func(line int, _ []byte, _ int) error {
		if line == 2 {
			return fmt.Errorf("not taken")
		}
		return nil
	})
	require.EqualError(t, err, "data: "+path+":2: not taken")
}

// The end of ctx ends the reading at once, also while a row is worked on.
func TestEachRowEndsWithItsContext(t *testing.T) {
	path := numbers(t, 500)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	ended := make(chan error)
	go func() {
		_, err := eachRow(ctx, Options{Path: path}, -1, func([]byte) (int, error) { <-never; return 0, nil },
			func(int, []byte, int) error { return nil })
		ended <- err
	}()
	select {
	case err := <-ended:
		require.Equal(t, fail.Interrupted, fail.CodeOf(err))
		require.EqualError(t, err, "interrupted while reading "+path)
	case <-time.After(10 * time.Second):
		t.Fatal("the reading went on")
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	opt := testOptions(t, blockTemplate)
	opt.Path = writeFile(t, "rows.jsonl", goodRow)
	_, err := Load(ctx, opt)
	require.Equal(t, fail.Interrupted, fail.CodeOf(err))
}

// Rows that are rendered and tokenised several at a time are those of one after the other.
func TestLoadIsAsOneByOne(t *testing.T) {
	const demo = "../../testdata/demo/"
	specials, err := LoadSpecials(demo + "target")
	require.NoError(t, err)
	opt := Options{Path: demo + "train.jsonl", EOS: specials.EOS, SeqLen: 1 << 20, SampleSize: 400, AnswerOnly: true, SuperviseEndOfTurn: true}
	opt.Template, err = NewTemplate(specials.ChatTemplate)
	require.NoError(t, err)
	opt.Tokenizer, err = LoadTokenizer(demo + "target/tokenizer.json")
	require.NoError(t, err)
	d, err := Load(t.Context(), opt)
	require.NoError(t, err)
	opt.Tokenizer, err = LoadTokenizer(demo + "target/tokenizer.json")
	require.NoError(t, err)
	var want []Row
	_, err = eachLine(t.Context(), opt.Path, opt.SampleSize, func(line int, raw []byte, _ float64) error {
		conv, err := ParseConversation(raw)
		require.NoError(t, err)
		e, err := opt.Encode(conv)
		require.NoError(t, err)
		want = append(want, Row{IDs: e.IDs, LossMask: e.Mask, Line: line})
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, want, d.Rows)
}

// Words are found again, and no more are kept than there may be.
func TestWordCache(t *testing.T) {
	c := newWordCache()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 3 * cacheWords {
				word := strconv.Itoa(i)
				if ids, ok := c.get(word); ok {
					if ids[0] != int32(i) {
						t.Errorf("%s: got %d", word, ids)
					}
					continue
				}
				c.put(word, []int32{int32(i)})
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, len(*c.known.Load())+len(c.more), cacheWords+cacheWords/2)
	_, ok := c.get(strconv.Itoa(3*cacheWords - 1))
	require.True(t, ok)
}
