package dubbo

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// exception reads a thrown exception: its class and its message. What else it
// has, its stack above all, is for the provider's own log.
func (r *reader) exception() (className, message string, err error) {
	r.cyclesAsNull = true
	tag, err := r.byte()
	for err == nil && tag == tagClass {
		if err = r.define(); err == nil {
			tag, err = r.byte()
		}
	}
	if err != nil {
		return "", "", err
	}
	if tag != tagObject && (tag < tagObjectDirect || tag >= tagListDirect) {
		from := len(r.out)
		r.pos--
		if err := r.value(); err != nil {
			return "", "", err
		}
		var text string
		_ = json.Unmarshal(r.out[from:], &text) // no string, no message
		return "", text, nil
	}
	c, err := r.classOf(tag)
	if err != nil {
		return "", "", err
	}
	className = c.name
	ref := r.begin()
	for _, field := range c.fields {
		from := len(r.out)
		if err := r.value(); err != nil {
			return "", "", err
		}
		var into *string
		switch field {
		case "detailMessage":
			if message != "" { // a generic exception says it better
				continue
			}
			into = &message
		case "exceptionMessage":
			into = &message
		case "exceptionClass":
			into = &className
		default:
			continue
		}
		var text string
		if json.Unmarshal(r.out[from:], &text) == nil && text != "" {
			*into = text
		}
	}
	r.end(ref)
	return className, message, nil
}

// classKind is how objects of a class are written.
type classKind int

const (
	plainClass classKind = iota
	decimalClass
	integerClass
	wrappedClass // one value, in the field "value" or "name"
	localDateClass
	localTimeClass
	localDateTimeClass
	instantClass
	offsetClass
	offsetDateTimeClass
	zonedDateTimeClass
)

const java8 = "com.alibaba.com.caucho.hessian.io.java8."

func kindOf(c class) classKind {
	switch c.name {
	case "java.math.BigDecimal":
		return decimalClass
	case "java.math.BigInteger":
		return integerClass
	case "java.sql.Date", "java.sql.Time", "java.sql.Timestamp":
		return wrappedClass
	}
	if name, ok := strings.CutPrefix(c.name, java8); ok {
		switch name {
		case "LocalDateHandle":
			return localDateClass
		case "LocalTimeHandle":
			return localTimeClass
		case "LocalDateTimeHandle":
			return localDateTimeClass
		case "InstantHandle":
			return instantClass
		case "ZoneOffsetHandle":
			return offsetClass
		case "OffsetDateTimeHandle":
			return offsetDateTimeClass
		case "ZonedDateTimeHandle":
			return zonedDateTimeClass
		}
	}
	if strings.HasPrefix(c.name, "com.alibaba.com.caucho.hessian.io.") && len(c.fields) == 1 {
		return wrappedClass // LocaleHandle and the like
	}
	// Beans come as maps in the answer to a generic call; an object of one field
	// "name" is how an enum is written.
	if len(c.fields) == 1 && c.fields[0] == "name" {
		return wrappedClass
	}
	return plainClass
}

// rewrite returns the JSON of an object whose fields are in fields.
func (k classKind) rewrite(fields []byte, bigAsStrings bool) ([]byte, bool) {
	var f struct {
		Value, Name, Date, Time, DateTime, Offset, ZoneID json.RawMessage

		Year, Month, Day           int
		Hour, Minute, Second, Nano int
		Seconds                    int64
		Nanos                      int64
		TotalSeconds               int
		Signum                     int
		Mag                        []int64
	}
	if err := json.Unmarshal(fields, &f); err != nil {
		return nil, false
	}
	text := func(raw json.RawMessage) string {
		var s string
		_ = json.Unmarshal(raw, &s) // empty for what is none, which no caller takes
		return s
	}
	quote := func(s string) ([]byte, bool) {
		return append(appendEscaped([]byte{'"'}, s), '"'), s != ""
	}
	switch k {
	case decimalClass:
		s := text(f.Value)
		if !isJSONNumber(s) {
			return quote(s)
		}
		return appendQuoted(nil, bigAsStrings, []byte(s)), true
	case integerClass:
		n := new(big.Int)
		for _, word := range f.Mag {
			n.Lsh(n, 32).Or(n, big.NewInt(int64(uint32(word))))
		}
		if f.Signum < 0 {
			n.Neg(n)
		}
		if s := text(f.Value); s != "" {
			if _, ok := n.SetString(s, 10); !ok {
				return quote(s)
			}
		}
		return appendQuoted(nil, bigAsStrings && n.CmpAbs(big.NewInt(maxSafe)) > 0, []byte(n.String())), true
	case wrappedClass:
		if f.Name != nil {
			return f.Name, f.Name[0] == '"'
		}
		return f.Value, f.Value != nil
	case localDateClass:
		return quote(fmt.Sprintf("%04d-%02d-%02d", f.Year, f.Month, f.Day))
	case localTimeClass:
		return quote(fmt.Sprintf("%02d:%02d:%02d%s", f.Hour, f.Minute, f.Second, fraction(f.Nano)))
	case localDateTimeClass:
		return quote(text(f.Date) + "T" + text(f.Time))
	case instantClass:
		return quote(time.Unix(f.Seconds, f.Nanos).UTC().Format(time.RFC3339Nano))
	case offsetClass:
		seconds := int(f.Seconds) + f.TotalSeconds
		if seconds == 0 {
			return quote("Z")
		}
		return quote(time.Unix(0, 0).In(time.FixedZone("", seconds)).Format("-07:00"))
	case offsetDateTimeClass:
		return quote(text(f.DateTime) + text(f.Offset))
	case zonedDateTimeClass:
		zone := text(f.ZoneID)
		if zone != "" {
			zone = "[" + zone + "]"
		}
		return quote(text(f.DateTime) + text(f.Offset) + zone)
	}
	return nil, false
}

func fraction(nano int) string {
	if nano == 0 {
		return ""
	}
	return "." + strings.TrimRight(fmt.Sprintf("%09d", nano), "0")
}

func isJSONNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}
