using System;
using System.Collections;
using System.Collections.Generic;
using System.Globalization;
using System.Reflection;
using System.Text;

namespace Treadle
{
    /// <summary>JSON text, read and written. Mono's base packages have no library for it.</summary>
    public static class Json
    {
        private const int MostDepth = 300;

        /// <summary>Compact. Dictionaries, sequences, texts, numbers, truth values, null; of other objects, their public properties.</summary>
        /// <exception cref="ArgumentException">nested too deep, as what contains itself is</exception>
        public static string Write(object value)
        {
            var text = new StringBuilder();
            Write(text, value, 0);
            return text.ToString();
        }

        private static void Write(StringBuilder text, object value, int depth)
        {
            if (depth > MostDepth) throw new ArgumentException("nested too deep for JSON");
            if (value == null) text.Append("null");
            else if (value is string || value is char || value is Enum || value is Guid) Quote(text, value.ToString());
            else if (value is bool) text.Append((bool)value ? "true" : "false");
            else if (value is double) Number(text, (double)value);
            else if (value is float) Number(text, (float)value);
            else if (value is DateTime) Quote(text, ((DateTime)value).ToString("o", CultureInfo.InvariantCulture));
            else if (value is IConvertible) text.Append(((IConvertible)value).ToString(CultureInfo.InvariantCulture));
            else if (value is IDictionary) WriteDictionary(text, (IDictionary)value, depth);
            else if (value is IEnumerable) WriteSequence(text, (IEnumerable)value, depth);
            else WriteProperties(text, value, depth);
        }

        private static void Number(StringBuilder text, double number)
        {
            if (double.IsNaN(number) || double.IsInfinity(number)) text.Append("null");
            else text.Append(number.ToString("R", CultureInfo.InvariantCulture));
        }

        private static void WriteDictionary(StringBuilder text, IDictionary dictionary, int depth)
        {
            text.Append('{');
            bool first = true;
            foreach (DictionaryEntry entry in dictionary)
            {
                if (!first) text.Append(',');
                first = false;
                Quote(text, Convert.ToString(entry.Key, CultureInfo.InvariantCulture));
                text.Append(':');
                Write(text, entry.Value, depth + 1);
            }
            text.Append('}');
        }

        private static void WriteSequence(StringBuilder text, IEnumerable sequence, int depth)
        {
            text.Append('[');
            bool first = true;
            foreach (object each in sequence)
            {
                if (!first) text.Append(',');
                first = false;
                Write(text, each, depth + 1);
            }
            text.Append(']');
        }

        private static void WriteProperties(StringBuilder text, object value, int depth)
        {
            var properties = new Dictionary<string, object>();
            foreach (PropertyInfo property in value.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance))
            {
                if (property.CanRead && property.GetIndexParameters().Length == 0) properties[property.Name] = property.GetValue(value, null);
            }
            WriteDictionary(text, properties, depth);
        }

        /// <summary>A text as JSON, quotes and all; lone surrogates are escaped, so that the output is always valid UTF-8.</summary>
        internal static void Quote(StringBuilder text, string value)
        {
            text.Append('"');
            for (int i = 0; i < value.Length; i++)
            {
                char c = value[i];
                bool pair = char.IsHighSurrogate(c) && i + 1 < value.Length && char.IsLowSurrogate(value[i + 1]);
                if (pair) text.Append(c).Append(value[++i]);
                else if (c == '"' || c == '\\') text.Append('\\').Append(c);
                else if (c == '\n') text.Append("\\n");
                else if (c == '\r') text.Append("\\r");
                else if (c == '\t') text.Append("\\t");
                else if (c < ' ' || char.IsSurrogate(c)) text.Append("\\u").Append(((int)c).ToString("x4"));
                else text.Append(c);
            }
            text.Append('"');
        }

        /// <summary>Dictionary, List, string, long, double, bool or null.</summary>
        /// <exception cref="FormatException">says where it is wrong</exception>
        public static object Read(string text)
        {
            return new JsonReader(text).Document();
        }

        private sealed class JsonReader
        {
            private readonly string text;
            private int at;

            internal JsonReader(string text)
            {
                this.text = text;
            }

            internal object Document()
            {
                object value = Value(0);
                Space();
                if (at < text.Length) throw Wrong();
                return value;
            }

            private FormatException Wrong()
            {
                return new FormatException(at >= text.Length ? "unexpected end of JSON" : "unexpected character at position " + at);
            }

            private void Space()
            {
                while (at < text.Length && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) at++;
            }

            private char Peek()
            {
                Space();
                if (at >= text.Length) throw Wrong();
                return text[at];
            }

            private object Value(int depth)
            {
                if (depth > MostDepth) throw new FormatException("nested too deep");
                switch (Peek())
                {
                    case '{': return ReadObject(depth);
                    case '[': return ReadArray(depth);
                    case '"': return ReadString();
                    case 't': return Word("true", true);
                    case 'f': return Word("false", false);
                    case 'n': return Word("null", null);
                    default: return ReadNumber();
                }
            }

            private object Word(string word, object value)
            {
                if (string.CompareOrdinal(text, at, word, 0, word.Length) != 0) throw Wrong();
                at += word.Length;
                return value;
            }

            private Dictionary<string, object> ReadObject(int depth)
            {
                var result = new Dictionary<string, object>();
                at++;
                if (Peek() == '}')
                {
                    at++;
                    return result;
                }
                while (true)
                {
                    if (Peek() != '"') throw Wrong();
                    string key = ReadString();
                    if (Peek() != ':') throw Wrong();
                    at++;
                    result[key] = Value(depth + 1);
                    char c = Peek();
                    if (c != ',' && c != '}') throw Wrong();
                    at++;
                    if (c == '}') return result;
                }
            }

            private List<object> ReadArray(int depth)
            {
                var result = new List<object>();
                at++;
                if (Peek() == ']')
                {
                    at++;
                    return result;
                }
                while (true)
                {
                    result.Add(Value(depth + 1));
                    char c = Peek();
                    if (c != ',' && c != ']') throw Wrong();
                    at++;
                    if (c == ']') return result;
                }
            }

            private string ReadString()
            {
                var result = new StringBuilder();
                at++;
                while (true)
                {
                    if (at >= text.Length || text[at] < ' ') throw Wrong();
                    char c = text[at++];
                    if (c == '"') return result.ToString();
                    if (c != '\\')
                    {
                        result.Append(c);
                        continue;
                    }
                    if (at >= text.Length) throw Wrong();
                    int which = "\"\\/bfnrt".IndexOf(text[at]);
                    if (which >= 0) result.Append("\"\\/\b\f\n\r\t"[which]);
                    else if (text[at] == 'u') result.Append(Escaped());
                    else throw Wrong();
                    at++;
                }
            }

            private char Escaped()
            {
                ushort code;
                if (at + 4 >= text.Length || !ushort.TryParse(text.Substring(at + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out code)) throw Wrong();
                at += 4;
                return (char)code;
            }

            private int Digits()
            {
                int start = at;
                while (at < text.Length && text[at] >= '0' && text[at] <= '9') at++;
                if (at == start) throw Wrong();
                return at - start;
            }

            private object ReadNumber()
            {
                int start = at;
                bool whole = true;
                if (text[at] == '-') at++;
                int first = at;
                if (Digits() > 1 && text[first] == '0')
                {
                    at = first + 1;
                    throw Wrong();
                }
                if (at < text.Length && text[at] == '.')
                {
                    whole = false;
                    at++;
                    Digits();
                }
                if (at < text.Length && (text[at] == 'e' || text[at] == 'E'))
                {
                    whole = false;
                    at++;
                    if (at < text.Length && (text[at] == '+' || text[at] == '-')) at++;
                    Digits();
                }
                string number = text.Substring(start, at - start);
                if (whole && number.Length < 19) return long.Parse(number, CultureInfo.InvariantCulture);
                return double.Parse(number, NumberStyles.Float, CultureInfo.InvariantCulture);
            }
        }
    }
}
