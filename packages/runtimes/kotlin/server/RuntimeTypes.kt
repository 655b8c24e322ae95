/** The types of functions by their Kotlin names: those of the Java runtime, whose getters Kotlin takes for properties. */
package io.openruntimes.kotlin

typealias RuntimeContext = io.openruntimes.java.RuntimeContext

typealias RuntimeRequest = io.openruntimes.java.RuntimeRequest

typealias RuntimeResponse = io.openruntimes.java.RuntimeResponse

typealias RuntimeOutput = io.openruntimes.java.RuntimeOutput

typealias RuntimeLogger = io.openruntimes.java.RuntimeLogger
