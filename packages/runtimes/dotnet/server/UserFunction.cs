using System;
using System.IO;
using System.Reflection;
using System.Runtime.ExceptionServices;
using System.Text.RegularExpressions;
using System.Threading.Tasks;
using DotNetRuntime;

namespace Treadle
{
    /// <summary>The Main of the class Handler, in any of its forms: (context) or (req, res), with or without a Task.</summary>
    internal sealed class UserFunction
    {
        /// <summary>Why it could not be loaded; null: it was.</summary>
        internal readonly string Failure;
        private readonly Type type;
        private readonly MethodInfo method;

        private UserFunction(string failure, Type type, MethodInfo method)
        {
            Failure = failure;
            this.type = type;
            this.method = method;
        }

        internal static UserFunction Load(string code, string entrypoint)
        {
            try
            {
                string file = Path.Combine(code, entrypoint);
                if (!File.Exists(file)) return Failed("The entry file " + entrypoint + " does not exist.");
                if (!Regex.IsMatch(File.ReadAllText(file), @"\bclass\s+Handler\b")) return Failed("The entry file " + entrypoint + " has no class Handler.");
                Assembly assembly = Assembly.LoadFrom(Path.Combine(code, ".treadle/user.dll"));
                foreach (Type type in assembly.GetTypes())
                {
                    if (type.Name != "Handler" || type.IsAbstract) continue;
                    foreach (MethodInfo method in type.GetMethods(BindingFlags.Public | BindingFlags.Instance))
                    {
                        if (method.Name == "Main" && Takes(method.GetParameters())) return new UserFunction(null, type, method);
                    }
                }
                return Failed("There is no class Handler with a public method Main(RuntimeContext Context).");
            }
            catch (Exception e)
            {
                return Failed(e.ToString());
            }
        }

        private static UserFunction Failed(string why)
        {
            return new UserFunction(why, null, null);
        }

        private static bool Takes(ParameterInfo[] parameters)
        {
            if (parameters.Length == 1) return parameters[0].ParameterType == typeof(RuntimeContext);
            return parameters.Length == 2 && parameters[0].ParameterType == typeof(RuntimeRequest) && parameters[1].ParameterType == typeof(RuntimeResponse);
        }

        /// <summary>Starts it; what it throws is in the task. Its result null: it returned nothing.</summary>
        internal async Task<RuntimeOutput> Call(RuntimeContext context)
        {
            object result;
            bool isOlder = method.GetParameters().Length == 2;
            try
            {
                object[] arguments = isOlder ? new object[] { context.Req, context.Res } : new object[] { context };
                result = method.Invoke(Activator.CreateInstance(type), arguments);
            }
            catch (TargetInvocationException e)
            {
                // With the stack of where it was thrown.
                ExceptionDispatchInfo.Capture(e.InnerException).Throw();
                throw;
            }
            var output = result as Task<RuntimeOutput>;
            if (output != null) return await output.ConfigureAwait(false);
            var task = result as Task;
            if (task != null) await task.ConfigureAwait(false);
            return isOlder ? context.Res.Last : result as RuntimeOutput;
        }
    }
}
