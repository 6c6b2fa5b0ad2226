import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.net.ssl.HttpsURLConnection;

/** Drives HttpsURLConnection. See README.md. */
public class Drive {
	public static void main(String[] args) throws IOException {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		for (String line; (line = in.readLine()) != null;) {
			String[] f = line.split(" ");
			try {
				System.out.println(f[1] + " " + perform(f));
			} catch (IOException e) {
				System.out.println(f[1] + " error " + e);
			}
		}
	}

	private static String perform(String[] f) throws IOException {
		HttpsURLConnection c = (HttpsURLConnection) new URL(f[3]).openConnection();
		c.setConnectTimeout(60_000);
		c.setReadTimeout(60_000);
		c.setRequestMethod(f[2]);
		if (!f[5].equals("-")) {
			c.setRequestProperty("Authorization", "Bearer " + f[5]);
		}
		if (!f[4].equals("-")) {
			byte[] body = Files.readAllBytes(Path.of(f[4]));
			c.setDoOutput(true);
			c.setFixedLengthStreamingMode(body.length);
			c.getOutputStream().write(body);
		}
		int status = c.getResponseCode();
		InputStream stream = status < 400 ? c.getInputStream() : c.getErrorStream();
		switch (f[0]) {
			case "request":
				if (stream != null) {
					stream.readAllBytes();
				}
				return "" + status;
			case "download":
				return status + " " + stream.transferTo(java.io.OutputStream.nullOutputStream());
			case "cancel":
				stream.read();
				c.disconnect();
				return "" + status;
			default:
				throw new IOException("no such operation");
		}
	}
}
