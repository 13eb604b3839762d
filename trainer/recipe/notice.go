package recipe

import "fmt"

// Notice is something the user should read about an accepted recipe.
type Notice struct {
	// Warning is true where the result may differ from what the recipe seems to ask for.
	Warning bool
	// Key is the dotted key concerned, or empty where there are several.
	Key string
	// Text says it in one sentence, without the key.
	Text string
}

// String is the line to print, without a severity.
func (n Notice) String() string {
	if n.Key == "" {
		return n.Text
	}
	return n.Key + ": " + n.Text
}

func info(key, format string, args ...any) Notice {
	return Notice{Key: key, Text: fmt.Sprintf(format, args...)}
}

func warning(key, format string, args ...any) Notice {
	return Notice{Warning: true, Key: key, Text: fmt.Sprintf(format, args...)}
}
