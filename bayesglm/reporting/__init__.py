"""The HTML report: `document` puts together what the files of this folder say."""
