package data

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithAnswer(t *testing.T) {
	for name, c := range map[string]struct{ row, want string }{
		"messages": {`{"messages": [{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}`,
			`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"x\ny"}],"by":7}`},
		"no answer yet": {`{"messages":[{"role":"system","content":"s"},{"role":"user","content":null,"k":1}]}`,
			`{"messages":[{"role":"system","content":"s"},{"role":"user","content":null,"k":1},{"role":"assistant","content":"x\ny"}],"by":7}`},
		"aliases": {`{"conversations":[{"from":"human","value":"é"},{"from":"gpt","value":"b"}],"id":1e3}`,
			`{"conversations":[{"from":"human","value":"é"},{"from":"gpt","value":"x\ny"}],"id":1e3,"by":7}`},
		"mixed spelling": {`{"conversations":[{"from":"human","content":"a"}]}`,
			`{"conversations":[{"from":"human","content":"a"},{"from":"gpt","content":"x\ny"}],"by":7}`},
		"both keys":     {`{"conversations":[1],"messages":[{"role":"user","content":"a"}]}`, `{"conversations":[1],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"x\ny"}],"by":7}`},
		"an older note": {`{"by":{"old":1},"messages":[]}`, `{"by":7,"messages":[{"role":"assistant","content":"x\ny"}]}`},
		"a name twice":  {`{"messages":1,"messages":[]}`, `{"messages":[{"role":"assistant","content":"x\ny"}],"by":7}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := WithAnswer([]byte(c.row), "x\ny", "by", 7)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
			_, err = ParseConversation(got)
			require.NoError(t, err)
			var by int
			require.NoError(t, ReadNote(got, "by", &by))
			require.Equal(t, 7, by)
		})
	}
	for row, want := range map[string]string{
		`[]`:                "want a JSON object",
		`{"text":"a"}`:      "want messages or conversations, got neither",
		`{"messages":{}}`:   "messages: ",
		`{"messages":[{}]}`: "messages: turn 0: want a role, got none",
		`{"messages":[`:     "invalid JSON",
	} {
		_, err := WithAnswer([]byte(row), "x", "by", 7)
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, ReadNote([]byte(`{}`), "by", new(int)), `want a key "by", got none`)
	require.Error(t, ReadNote([]byte(`{"by":"x"}`), "by", new(int)))
}
