"""A run as one HTML file that opens without a server and without a network: the app's player, and tables."""

from analysis.report.page import Report, ReportError, report_html, write_report
